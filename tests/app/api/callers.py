"""Who calls in the tests of the API, and what they check."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask.testing import FlaskClient
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.test import TestResponse

from app.jobs.lifecycle import advance, claim, finish, mark_settled
from app.jobs.states import JobStatus
from billing.settlement import settle
from tests.app.jobs.shop import usage_report


@dataclass(frozen=True, slots=True)
class Caller:
    """A client that sends one key with every request."""

    client: FlaskClient
    key: str
    tenant_id: str

    def get(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("GET", path, **kwargs)

    def post(self, path: str, **kwargs: Any) -> TestResponse:
        return self.send("POST", path, **kwargs)

    def send(self, method: str, path: str, **kwargs: Any) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.key}", **kwargs.pop("headers", {})}
        return self.client.open(path, method=method, headers=headers, **kwargs)

    def upload(self, content: bytes, name: str = "a.png", **kwargs: Any) -> TestResponse:
        # Written by hand: the test client leaves the temporary file of a large form open.
        label = name.replace("\\", "\\\\").replace('"', '\\"').encode()
        head = b'--mark\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n\r\n'
        data = head % label + content + b"\r\n--mark--\r\n"
        form = "multipart/form-data; boundary=mark"
        return self.post("/v1/files", data=data, content_type=form, **kwargs)


def job_body(file_id: str, **fields: Any) -> dict[str, Any]:
    """A small detection job that needs no weights."""
    target = {"target": {"file": file_id}}
    return {"engine": "detect", "model": "builtin", "input": target, **fields}


@dataclass(frozen=True, slots=True)
class Traces:
    """What a refused request may leave behind: nothing of it."""

    sessions: sessionmaker[Session]
    storage: Path

    def look(self) -> dict[str, int]:
        with self.sessions() as session:
            counted = {
                table: session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
                for table in ("job", "file", "idempotency_key", "billing.hold")
            }
            held = session.execute(text("SELECT coalesce(sum(held), 0) FROM billing.wallet"))
            counted["held"] = int(held.scalar_one())
        counted["stored"] = sum(1 for path in self.storage.rglob("*") if path.is_file())
        return counted


def assert_problem(answer: TestResponse, *, status: int, code: str) -> dict[str, Any]:
    """Check the shape of a problem and return it."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    assert answer.content_type == "application/problem+json"
    problem: dict[str, Any] = answer.json
    assert problem["code"] == code, problem
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    assert set(problem) == {
        *("type", "title", "status", "detail", "instance", "code", "request_id"),
        *("retryable", "errors"),
    }
    assert "Traceback" not in answer.text
    return problem


def run_and_settle(sessions: sessionmaker[Session], job_id: str) -> None:
    """What a GPU worker and the billing worker do with a job that succeeds."""
    with sessions.begin() as session:
        run = claim(session, job_id=job_id, worker="worker-1", lease_s=15)
        assert run is not None
        for status in (JobStatus.PROCESSING, JobStatus.FINALIZING):
            advance(session, job_id=job_id, attempt=run.attempt, to=status)
        finish(
            session,
            job_id=job_id,
            attempt=run.attempt,
            outcome=JobStatus.SUCCEEDED,
            output={"files": [], "data": {"predictions": []}},
            usage=usage_report(),
        )
    with sessions.begin() as session:
        settlement = settle(session, job=job_id)
        assert settlement is not None
        mark_settled(session, settlement=settlement)
