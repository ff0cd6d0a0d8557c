"""A platform in miniature for long videos: jobs of the engine ``digest`` and their ends."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from app.catalog.service import Catalog
from app.catalog.shelf import CardShelf
from app.files.garbage import collect_garbage
from app.jobs.states import JobStatus
from app.settings import Settings
from billing.cards import EVERYBODY, assign
from billing.publishing import publish
from tests.workers.miniature import Platform, settings_of
from workers import run_job
from workers.segments import finalize, run
from workers.segments.cleaning import clean_ended
from workers.settle import drain
from workers.work_folders import clean_work, work_root

ENGINES = Path(__file__).parent / "engines"
CARD = {
    "card": "digest",
    "engines": ["digest"],
    "rounding": {"quantum": "0.001", "minimum": "0"},
    "terms": [{"name": "frame", "quantity": "frames", "unit": "frame", "tokens": "0.5"}],
}
WORKER = "gpu1@node"


def settings_with_digest(home: Path, database_url: str, redis_url: str | None = None) -> Settings:
    return replace(settings_of(home, database_url, redis_url), engine_folders=(ENGINES,))


class Cinema:
    """One uploaded video, and the processes of a worker as calls."""

    def __init__(self, platform: Platform, clip: Path) -> None:
        self.platform = platform
        self.services = platform.services
        platform.registry = platform.services.registry
        platform.catalog = Catalog(platform.registry, CardShelf())
        with platform.sessions.begin() as session:
            publish(session, CARD, now=datetime.now(UTC))
            assign(session, tenant=EVERYBODY, engine="digest", card="digest")
        self.file = platform.upload(clip)

    def submit(self, *, segments: int | None = 8, params: Any = None, **fields: Any) -> str:
        return self.platform.submit(
            engine="digest", model="plain", segments=segments, params=params or {}, **fields
        )

    def cut(self, **asked: Any) -> str:
        """A job that is in segments, none of them claimed."""
        job_id = self.submit(**asked)
        assert self.start(job_id) is JobStatus.PROCESSING
        return job_id

    def start(self, job_id: str, *, worker: str = WORKER) -> JobStatus | None:
        return run_job.execute(self.services, job_id=job_id, worker=worker)

    def run(self, job_id: str, number: int, *, worker: str = WORKER) -> JobStatus | None:
        return run.execute(self.services, job_id=job_id, number=number, worker=worker)

    def finalize(self, job_id: str, *, worker: str = WORKER) -> JobStatus | None:
        return finalize.execute(self.services, job_id=job_id, worker=worker)

    def run_all(self, job_id: str) -> None:
        for number in range(self.job(job_id)["segments"]):
            self.run(job_id, number)

    def job(self, job_id: str) -> dict[str, Any]:
        return self.platform.job(job_id)

    def segment(self, job_id: str, number: int) -> dict[str, Any]:
        return self.platform.row(
            "SELECT * FROM segment WHERE job_id = :id AND number = :number",
            id=job_id,
            number=number,
        )

    def segments(self, job_id: str) -> list[dict[str, Any]]:
        with self.platform.sessions() as session:
            rows = session.execute(
                text("SELECT * FROM segment WHERE job_id = :id ORDER BY number"), {"id": job_id}
            )
            return [dict(row) for row in rows.mappings()]

    def outcomes(self, job_id: str) -> list[tuple[int, int, str]]:
        """Segment, attempt and outcome of every attempt."""
        with self.platform.sessions() as session:
            rows = session.execute(
                text(
                    "SELECT segment, number, outcome FROM segment_attempt WHERE job_id = :id"
                    " ORDER BY segment, number"
                ),
                {"id": job_id},
            )
            return [tuple(row) for row in rows]

    def expire(self, job_id: str, number: int) -> None:
        """What happens 15 s after a worker died."""
        self.platform.change(
            "UPDATE segment SET lease_expires_at = clock_timestamp() - interval '1 second'"
            " WHERE job_id = :id AND number = :number",
            id=job_id,
            number=number,
        )

    def output(self, job_id: str) -> bytes:
        [file] = self.job(job_id)["output"]["files"]
        key = self.platform.scalar("SELECT storage_key FROM file WHERE id = :id", id=file["id"])
        with self.services.storage.open(key) as stream:
            return stream.read()

    def usage_record(self, job_id: str) -> dict[str, Any]:
        return self.platform.row("SELECT * FROM billing.usage_record WHERE job = :id", id=job_id)

    def settle(self, job_id: str) -> dict[str, Any]:
        drain(self.services)
        return self.platform.row("SELECT * FROM billing.charge WHERE job = :id", id=job_id)

    def objects(self) -> set[str]:
        return set(self.services.storage.keys(older_than_s=-1))

    def known_objects(self) -> set[str]:
        with self.platform.sessions() as session:
            return set(session.scalars(text("SELECT storage_key FROM file")))

    def assert_nothing_is_left(self, *, swept: bool = False) -> None:
        """No object without a file's row, no folder of an attempt, no imbalance.

        ``swept``: a worker was killed, so what is found only by the sweepers has been.
        """
        if swept:
            clean_ended(self.services)
            collect_garbage(
                self.platform.sessions,
                self.services.storage,
                now=datetime.now(UTC),
                orphan_age_s=-1,
            )
            clean_work(work_root(self.services), older_than_s=-1)
        assert self.objects() == self.known_objects()
        assert list(work_root(self.services).iterdir()) == []
        self.platform.reconcile()
