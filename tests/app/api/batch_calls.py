"""What the tests of batches say and look at, over HTTP and below it."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.jobs.lifecycle import claim, finish, mark_settled
from app.jobs.states import JobStatus
from billing.reconcile import check
from billing.settlement import settle
from tests.app.api.callers import Caller, job_body

PATH = "/v1/batches"
HOOK = {"url": "https://hooks.example.com/batch"}


def body(file_id: str, *, items: int = 3, **fields: Any) -> dict[str, Any]:
    return {"defaults": job_body(file_id), "items": [{} for _ in range(items)], **fields}


def linked(caller: Caller, url: str) -> bytes:
    """What a signed link opens, without a key."""
    with caller.client.get(url.removeprefix("http://pixelmeter.test")) as answer:
        assert answer.status_code == 200, answer.text
        return answer.data


def jobs_of(caller: Caller, batch_id: str) -> list[str]:
    return [item["job"] for item in caller.get(f"{PATH}/{batch_id}/items").json["data"]]


def count(sessions: sessionmaker[Session], table: str) -> int:
    with sessions() as session:
        return session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()


def reconciled(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        assert check(session) == []


def crash(*_: object) -> None:
    raise ZeroDivisionError


def fail(sessions: sessionmaker[Session], job_id: str, *, settled: bool = True) -> None:
    """What a GPU worker does with a job whose input it cannot read."""
    error = {"code": "video_damaged", "detail": "Frame 7 cannot be decoded.", "retryable": False}
    with sessions.begin() as session:
        run = claim(session, job_id=job_id, worker="worker-1", lease_s=15)
        assert run is not None
        finish(session, job_id=job_id, attempt=run.attempt, outcome=JobStatus.FAILED, error=error)
    if settled:
        settle_one(sessions, job_id)


def settle_one(sessions: sessionmaker[Session], job_id: str) -> None:
    with sessions.begin() as session:
        settlement = settle(session, job=job_id)
        assert settlement is not None
        mark_settled(session, settlement=settlement)
