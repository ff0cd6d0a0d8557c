"""The task ``run_job``: one attempt of one job, from claim to usage record.

The message is only a hint that a job may wait. Who claims it first owns the attempt; a duplicate,
an old or an invented message finds nothing to claim and is dropped.
"""

import logging
import shutil
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from celery import shared_task
from sqlalchemy import select
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.files.models import File
from app.files.service import media_info
from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import advance, claim, finish, give_back
from app.jobs.record import Claimed
from app.jobs.states import JobStatus
from engines.errors import InvalidInputError
from engines.spec import EngineResult, InputFiles, RunContext
from workers.announcement import announce_start
from workers.attempt_lease import LEASE_S, RELAXED_COMMIT, AttemptLease
from workers.dispatch.publication import DEFAULT_RUNTIME_S
from workers.outputs import finish_with_outputs
from workers.routing import TaskName
from workers.run_context import AttemptContext
from workers.services import Services, process_services
from workers.verdict import Canceled, Failed, Retryable, Succeeded, Superseded, Verdict, judge

log = logging.getLogger(__name__)

PERSIST_FOR_S = 60.0  # a finished run is worth waiting for a database that restarts

Written = TypeVar("Written")


def execute(services: Services, *, job_id: str, worker: str) -> JobStatus | None:
    """Run one attempt; returns what the job is now, or None when nothing was to be done.

    Never raises for what an engine, a customer or a lost lease can cause.
    """
    claimed = _claim(services, job_id, worker)
    if claimed is None:
        log.info("%s: nothing to claim; duplicate or late message dropped", job_id)
        return None
    with (
        tempfile.TemporaryDirectory(
            prefix=f"{job_id}-", dir=work_root(services), ignore_cleanup_errors=True
        ) as folder,
        AttemptLease(
            services.sessions,
            job_id=job_id,
            attempt=claimed.attempt,
            runtime_s=claimed.max_runtime_s or DEFAULT_RUNTIME_S,
        ) as lease,
    ):
        context = AttemptContext(lease, Path(folder))
        verdict = judge(
            lambda: _run(services, claimed, context), stop_reason=lambda: lease.stop_reason
        )
        status = _conclude(services, claimed, verdict)
    log.info("%s: attempt %d ended, %s", job_id, claimed.attempt, status or "superseded")
    return status


def work_root(services: Services) -> Path:
    """Where attempts have their folders; the sweeper removes those of dead workers."""
    root = services.settings.home / "tmp"
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    return root


def clean_work(root: Path, *, older_than_s: float) -> int:
    """Remove folders of attempts whose worker died; returns how many."""
    horizon = time.time() - older_than_s
    stale = [path for path in root.iterdir() if path.stat().st_mtime < horizon]
    for path in stale:
        shutil.rmtree(path, ignore_errors=True)
    return len(stale)


def _claim(services: Services, job_id: str, worker: str) -> Claimed | None:
    with services.sessions.begin() as session:
        claimed = claim(session, job_id=job_id, worker=worker, lease_s=LEASE_S)
        if claimed is not None:
            announce_start(session, claimed, links=services.links, now=datetime.now(UTC))
    return claimed


def _run(services: Services, claimed: Claimed, context: RunContext) -> EngineResult:
    with services.sessions.begin() as session:
        session.execute(RELAXED_COMMIT)
        files = locate(session, services, claimed)
        advance(session, job_id=claimed.job_id, attempt=claimed.attempt, to=JobStatus.PROCESSING)
    context.checkpoint()
    engine = services.registry.engine(claimed.engine)
    model = services.registry.resolve(claimed.engine, claimed.model)
    params = engine.params_model.model_validate(claimed.params)
    return engine.run(model, params, files, context)


def locate(session: Session, services: Services, claimed: Claimed) -> InputFiles:
    """The job's inputs as local files.

    They are kept for as long as the job has not ended, even past their expiry.

    Raises:
        InvalidInputError: code ``input_gone``.
    """
    target, sources = claimed.inputs["target"], list(claimed.inputs.get("source") or ())
    rows = session.scalars(
        select(File).where(File.tenant_id == claimed.tenant_id, File.id.in_([target, *sources]))
    )
    found = {file.id: file for file in rows}
    paths = {key: services.storage.path(file.storage_key) for key, file in found.items()}
    for file_id in (target, *sources):
        if file_id not in paths or not paths[file_id].is_file():
            message = f"The input {file_id} is no longer stored. Upload it again."
            raise InvalidInputError(message, code="input_gone")
    return InputFiles(
        target=paths[target],
        target_info=media_info(found[target]),
        sources=tuple(paths[source] for source in sources),
    )


def _conclude(services: Services, claimed: Claimed, verdict: Verdict) -> JobStatus | None:
    """Write the verdict, guarded by the fence; None when another attempt owns the job."""
    try:
        return persist(lambda: _write(services, claimed, verdict))
    except StaleFenceError as stale:
        log.warning("%s", stale)
        return None


def _write(services: Services, claimed: Claimed, verdict: Verdict) -> JobStatus | None:
    owner: dict[str, Any] = {"job_id": claimed.job_id, "attempt": claimed.attempt}
    match verdict:
        case Succeeded(result):
            return finish_with_outputs(services, claimed, result)
        case Superseded():
            return None
        case Failed(error):
            with services.sessions.begin() as session:
                finish(session, **owner, outcome=JobStatus.FAILED, error=error)
            return JobStatus.FAILED
        case Canceled():
            with services.sessions.begin() as session:
                finish(session, **owner, outcome=JobStatus.CANCELED)
            return JobStatus.CANCELED
        case Retryable(error):
            with services.sessions.begin() as session:
                return give_back(session, **owner, error=error)


def persist(write: Callable[[], Written], *, for_s: float = PERSIST_FOR_S) -> Written:
    """Repeat a transaction while the database is away; the fence keeps a repetition harmless."""
    give_up_at, wait_s = time.monotonic() + for_s, 0.1
    while True:
        try:
            return write()
        except (OperationalError, InterfaceError) as error:
            if time.monotonic() + wait_s > give_up_at:
                raise
            log.warning("result not written, trying again: %s", error)
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, 2.0)


def _task(request: Any, job_id: object) -> None:  # noqa: ANN401 - Celery's bound task
    if not isinstance(job_id, str):
        log.warning("message dropped: the job id is a %s", type(job_id).__name__)
        return
    try:
        execute(process_services.get(), job_id=job_id, worker=request.request.hostname)
    except SQLAlchemyError as error:
        # The job is in the database, as queued or under a lease that ends: it will be found.
        log.warning("%s: left for another attempt, the database is away: %s", job_id, error)


run_job = shared_task(name=TaskName.RUN_JOB.value, bind=True)(_task)
