"""The task ``run_job``: one attempt of one job, from claim to usage record.

The message is only a hint that a job may wait. Who claims it first owns the attempt; a duplicate,
an old or an invented message finds nothing to claim and is dropped. A picture whose engine runs
many together takes along other jobs that wait; their own messages then find nothing to claim. A
long video is only cut here (``segments``); its segments have messages of their own.
"""

import logging
from collections.abc import Sequence
from typing import Any

from celery import current_app, shared_task
from sqlalchemy.exc import SQLAlchemyError

from app.jobs.states import JobStatus
from engines.spec import BatchEngine, EngineResult, InputMedia
from workers.attempt import Attempt, begin, claim_one
from workers.boot import ENGINES_KEY
from workers.conclusion import conclude
from workers.from_cache import earlier_result
from workers.gathering import Gatherer
from workers.persistence import persist
from workers.preparation import prepare
from workers.routing import TaskName
from workers.segments.split import split
from workers.services import Services, process_services
from workers.together import batch_key, run_together
from workers.verdict import Failed, judge

log = logging.getLogger(__name__)

CLAIM_FOR_S = 5.0  # a pooled connection may have died; an absent database is left to the dispatcher


def execute(
    services: Services, *, job_id: str, worker: str, engines: Sequence[str] = ()
) -> JobStatus | None:
    """Run one attempt; returns what the job is now, or None when nothing was to be done.

    ``engines`` are those that this worker serves: only jobs of theirs are taken along.
    Never raises for what an engine, a customer or a lost lease can cause.
    """
    taken = persist(lambda: claim_one(services, job_id, worker), for_s=CLAIM_FOR_S)
    if taken is None:
        log.info("%s: nothing to claim; duplicate or late message dropped", job_id)
        return None
    attempt, claimed = begin(services, taken), taken.claimed
    try:
        if not taken.is_begun and (stopped := prepare(services, attempt)) is not None:
            return conclude(services, attempt, stopped)
        match split(services, attempt):
            case Failed() as refused:
                return conclude(services, attempt, refused)
            case JobStatus() as status:
                return status
        return _run(services, attempt, worker=worker, engines=engines)
    finally:
        attempt.close()  # closing twice is fine
        services.retirement.used(claimed.engine, claimed.model)
        services.retirement.let_go(services.registry)


def _run(
    services: Services, attempt: Attempt, *, worker: str, engines: Sequence[str]
) -> JobStatus | None:
    claimed = attempt.claimed
    if claimed.tenant_model_id is not None:  # its network takes one picture at a time
        return _run_alone(services, attempt)
    key = batch_key(services, claimed.engine, claimed.model, claimed.params, _media(attempt))
    if key is None or claimed.attempt > 1:  # what ended its first attempt may end others too
        return _run_alone(services, attempt)
    gatherer = Gatherer(
        services,
        worker=worker,
        engines=engines,
        is_compatible=lambda each: (
            each.candidate.engine == claimed.engine
            and each.model == claimed.model
            and key == batch_key(services, claimed.engine, each.model, each.params, each.media)
        ),
    )
    engine = services.registry.engine(claimed.engine)
    assert isinstance(engine, BatchEngine)  # noqa: S101 - only such an engine gives keys
    return run_together(services, engine, attempt, gatherer)


def _media(attempt: Attempt) -> InputMedia | None:
    info = attempt.taken.inputs.target_info()
    return None if info is None else InputMedia(info)


def _run_alone(services: Services, attempt: Attempt) -> JobStatus | None:
    try:
        verdict = earlier_result(services, attempt) or judge(
            lambda: _engine_run(services, attempt), stop_reason=lambda: attempt.lease.stop_reason
        )
        return conclude(services, attempt, verdict)
    finally:
        attempt.close()


def _engine_run(services: Services, attempt: Attempt) -> EngineResult:
    attempt.context.checkpoint()
    item = attempt.item(services)
    engine = services.registry.engine(attempt.claimed.engine)
    return engine.run(item.model, item.params, item.files, item.context)


def _task(request: Any, job_id: object) -> None:  # noqa: ANN401 - Celery's bound task
    if not isinstance(job_id, str):
        log.warning("message dropped: the job id is a %s", type(job_id).__name__)
        return
    try:
        execute(
            process_services.get(),
            job_id=job_id,
            worker=request.request.hostname,
            engines=current_app.conf.get(ENGINES_KEY) or (),
        )
    except SQLAlchemyError as error:
        # The job is in the database, as queued or under a lease that ends: it will be found.
        log.warning("%s: left for another attempt, the database is away: %s", job_id, error)


run_job = shared_task(name=TaskName.RUN_JOB.value, bind=True)(_task)
