"""A small shop: a tenant with tokens, the shipped engines and cards, a picture in storage."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.catalog.service import Catalog
from app.files.intake import IntakeDesk
from app.jobs.idempotency import Idempotency
from app.jobs.lifecycle import advance, claim, finish
from app.jobs.record import Claimed, JobRow
from app.jobs.service import Submitted, submit
from app.jobs.spec import JobRequest
from app.jobs.states import JobStatus
from app.secret_box import SecretBox
from app.storage import FileStorage
from app.tenants.service import Principal
from billing.settlement import Settlement, settle
from billing.wallets import balance
from engines.spec import MediaInfo, MediaKind, UsageReport, Work

INFO = MediaInfo(kind=MediaKind.IMAGE, media_type="image/png", bytes=4, width=640, height=480)
INLINE = "data:image/png;base64," + base64.b64encode(b"data").decode()


def usage_report(*, pixels: int = 640 * 640, gpu_ms: float = 0.01) -> UsageReport:
    """What the built-in detector measures on one picture."""
    return UsageReport(
        work=Work(
            {"images": 1, "input_pixels": pixels, "gpu_ms": gpu_ms},
            {"media": "image", "model": "builtin", "width": 640, "height": 480},
        ),
        model="builtin@1",
        device="cpu:test",
        runner="opencv",
        provider="opencv",
        precision="none",
        stages_ms={"detect": gpu_ms},
        wall_ms=1.5,
        cold_start_ms=0.25,
        peak_memory_bytes=1024,
    )


@dataclass
class Shop:
    """Short ways to do what a customer and a worker do; every method commits."""

    sessions: sessionmaker[Session]
    catalog: Catalog
    box: SecretBox
    desk: IntakeDesk
    storage: FileStorage
    caller: Principal
    picture: str  # id of an uploaded picture

    @property
    def tenant_id(self) -> str:
        return str(self.caller.tenant_id)

    def body(self, **changes: Any) -> dict[str, Any]:
        return {
            "engine": "detect",
            "model": "builtin",
            "input": {"target": {"file": self.picture}},
            **changes,
        }

    def submitted(
        self,
        *,
        key: str | None = None,
        fingerprint: str = "f",
        caller: Principal | None = None,
        **changes: Any,
    ) -> Submitted:
        caller = caller or self.caller
        now = datetime.now(UTC)
        with (
            self.sessions() as session,
            self.desk.open(session, tenant_id=str(caller.tenant_id), now=now) as intake,
            session.begin(),
        ):
            return submit(
                session,
                catalog=self.catalog,
                box=self.box,
                intake=intake,
                caller=caller,
                request=JobRequest.model_validate(self.body(**changes)),
                idempotency=Idempotency(key, fingerprint) if key else None,
                request_id="req_1",
                now=now,
            )

    def submit(self, **changes: Any) -> str:
        return str(self.submitted(**changes).job["id"])

    def claim(self, job_id: str, *, lease_s: float = 15) -> Claimed | None:
        with self.sessions.begin() as session:
            return claim(session, job_id=job_id, worker="worker-1", lease_s=lease_s)

    def claimed(self, job_id: str, *, lease_s: float = 15) -> Claimed:
        found = self.claim(job_id, lease_s=lease_s)
        assert found is not None
        return found

    def advance(self, run: Claimed, to: JobStatus) -> None:
        with self.sessions.begin() as session:
            advance(session, job_id=run.job_id, attempt=run.attempt, to=to)

    def finish(self, run: Claimed, outcome: JobStatus, **facts: Any) -> JobRow:
        with self.sessions.begin() as session:
            return finish(session, job_id=run.job_id, attempt=run.attempt, outcome=outcome, **facts)

    def succeed(self, run: Claimed) -> JobRow:
        self.advance(run, JobStatus.PROCESSING)
        self.advance(run, JobStatus.FINALIZING)
        output = {"files": [], "data": {"predictions": []}}
        return self.finish(run, JobStatus.SUCCEEDED, output=output, usage=usage_report())

    def settle(self, job_id: str) -> Settlement | None:
        with self.sessions.begin() as session:
            return settle(session, job=job_id)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.rows("SELECT * FROM job WHERE id = :id", id=job_id)[0]

    def rows(self, sql: str, **values: Any) -> list[dict[str, Any]]:
        with self.sessions() as session:
            return [row._asdict() for row in session.execute(text(sql), values)]

    def do(self, sql: str, **values: Any) -> None:
        with self.sessions.begin() as session:
            session.execute(text(sql), values)

    def count(self, table: str) -> int:
        return int(self.rows(f"SELECT count(*) AS n FROM {table}")[0]["n"])

    def tokens(self) -> tuple[int, int]:
        """Available and held, in micro-tokens."""
        with self.sessions() as session:
            found = balance(session, self.tenant_id)
            return found.available, found.held

    def objects(self) -> int:
        return len(list(self.storage.keys(older_than_s=-60)))
