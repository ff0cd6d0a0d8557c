"""The task ``run_job``: one attempt of one job, from claim to usage record.

The message is only a hint that a job may wait. Who claims it first owns the attempt; a duplicate,
an old or an invented message finds nothing to claim and is dropped.
"""

import logging
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celery import shared_task
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import advance, claim, finish, give_back
from app.jobs.record import Claimed, Progress
from app.jobs.states import JobStatus
from engines.spec import EngineResult, RunContext
from workers.announcement import announce_start
from workers.attempt_lease import LEASE_S, AttemptLease
from workers.dispatch.publication import DEFAULT_RUNTIME_S
from workers.inputs import Inputs, locate
from workers.outputs import finish_with_outputs
from workers.persistence import persist
from workers.routing import TaskName
from workers.run_context import AttemptContext
from workers.services import Services, process_services
from workers.verdict import Canceled, Failed, Retryable, Succeeded, Superseded, Verdict, judge

log = logging.getLogger(__name__)

CLAIM_FOR_S = 5.0  # a pooled connection may have died; an absent database is left to the dispatcher
PERSIST_FOR_S = 60.0  # a finished run is worth waiting for a database that restarts


def execute(services: Services, *, job_id: str, worker: str) -> JobStatus | None:
    """Run one attempt; returns what the job is now, or None when nothing was to be done.

    Never raises for what an engine, a customer or a lost lease can cause.
    """
    taken = persist(lambda: _claim(services, job_id, worker), for_s=CLAIM_FOR_S)
    if taken is None:
        log.info("%s: nothing to claim; duplicate or late message dropped", job_id)
        return None
    claimed, inputs = taken
    with (
        tempfile.TemporaryDirectory(
            prefix=f"{job_id}-", dir=work_root(services), ignore_cleanup_errors=True
        ) as folder,
        AttemptLease(
            services.relaxed,
            services.renewer,
            job_id=job_id,
            attempt=claimed.attempt,
            runtime_s=claimed.max_runtime_s or DEFAULT_RUNTIME_S,
        ) as lease,
    ):
        context = AttemptContext(lease, Path(folder))
        verdict = judge(
            lambda: _run(services, claimed, inputs, context), stop_reason=lambda: lease.stop_reason
        )
        status = _conclude(services, claimed, verdict, lease.progress)
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


def _claim(services: Services, job_id: str, worker: str) -> tuple[Claimed, Inputs] | None:
    """Take the job and find its inputs, in one transaction."""
    with services.relaxed.begin() as session:
        claimed = claim(session, job_id=job_id, worker=worker, lease_s=LEASE_S)
        if claimed is None:
            return None
        inputs = locate(session, services, claimed)
        advance(session, job_id=claimed.job_id, attempt=claimed.attempt, to=JobStatus.PROCESSING)
        announce_start(session, claimed, links=services.links, now=datetime.now(UTC))
        return claimed, inputs


def _run(services: Services, claimed: Claimed, inputs: Inputs, context: RunContext) -> EngineResult:
    context.checkpoint()
    engine = services.registry.engine(claimed.engine)
    model = services.registry.resolve(claimed.engine, claimed.model)
    params = engine.params_model.model_validate(claimed.params)
    return engine.run(model, params, inputs.files(), context)


def _conclude(
    services: Services, claimed: Claimed, verdict: Verdict, progress: Progress | None
) -> JobStatus | None:
    """Write the verdict, guarded by the fence; None when another attempt owns the job."""
    try:
        return persist(lambda: _write(services, claimed, verdict, progress), for_s=PERSIST_FOR_S)
    except StaleFenceError as stale:
        log.warning("%s", stale)
        return None


def _write(
    services: Services, claimed: Claimed, verdict: Verdict, progress: Progress | None
) -> JobStatus | None:
    owner: dict[str, Any] = {"job_id": claimed.job_id, "attempt": claimed.attempt}
    match verdict:
        case Succeeded(result):
            return finish_with_outputs(services, claimed, result, progress=progress)
        case Superseded():
            return None
        case Failed(error):
            with services.sessions.begin() as session:
                finish(session, **owner, outcome=JobStatus.FAILED, error=error)
            return JobStatus.FAILED
        case Canceled(usage):
            with services.sessions.begin() as session:
                finish(
                    session,
                    **owner,
                    outcome=JobStatus.CANCELED,
                    usage=usage,
                    progress=progress,
                )
            return JobStatus.CANCELED
        case Retryable(error):
            with services.sessions.begin() as session:
                return give_back(session, **owner, error=error)


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
