"""The task ``finalize``: a long video's segments become its result, and the job ends.

It needs no network, so any worker that consumes its queue does it. The claim is the job's next
attempt: of two finalizers one finds nothing, and one that lost its lease can write nothing.
"""

import logging
from typing import Any

from celery import shared_task
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from app.jobs import segment_joins, segment_queries
from app.jobs import segment_statements as statements
from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import MAX_ATTEMPTS
from app.jobs.segment_usage import Measured
from app.jobs.states import TERMINAL, JobStatus
from engines.errors import EngineFaultError, ExhaustedError
from engines.spec import EngineResult, SegmentedEngine
from workers.attempt import Attempt, Taken, begin, key_of
from workers.attempt_lease import LEASE_S
from workers.conclusion import PERSIST_FOR_S, conclude
from workers.inputs import locate
from workers.node_disk import never_fits
from workers.persistence import persist
from workers.routing import TaskName
from workers.segments.cleaning import clean_ended
from workers.segments.part_store import PartStore
from workers.services import Services, process_services
from workers.storing import at_hand
from workers.verdict import Failed, judge, refusal

log = logging.getLogger(__name__)

CLAIM_FOR_S = 5.0


def execute(services: Services, *, job_id: str, worker: str) -> JobStatus | None:
    """Join one job's segments; returns what it is now, None when nothing was to be done.

    Never raises for what an engine, a customer or a lost lease can cause.
    """
    found = persist(lambda: _claim(services, job_id, worker), for_s=CLAIM_FOR_S)
    if found is None:
        log.info("%s: nothing to finalize, or no room", job_id)
        return None
    taken, unfit = found
    attempt = begin(services, taken)
    try:
        if unfit is not None:
            status = conclude(services, attempt, unfit)
        else:
            status = _finalize(services, attempt)
    finally:
        attempt.close()
    if status in TERMINAL:
        clean_ended(services)
    return status


def _claim(services: Services, job_id: str, worker: str) -> tuple[Taken, Failed | None] | None:
    """Take the job; with its end, if what is joined fits on no worker any more."""
    with services.relaxed.begin() as session:
        need = session.execute(statements.NEED_OF_ALL, {"job_id": job_id}).one_or_none()
        if need is None:
            return None
        unfit, disk = None, services.node_disk
        if not disk.has_room(session, worker=worker, need_bytes=need.work_bytes):
            if need.work_bytes > disk.budget_bytes:
                unfit = never_fits(session, engine=need.engine, need_bytes=need.work_bytes)
            if unfit is None:
                return None  # its message is sent again until it meets a worker with room
        claimed = segment_joins.claim_join(session, job_id=job_id, worker=worker, lease_s=LEASE_S)
        if claimed is None:
            return None
        [inputs] = locate(session, services, [claimed])
    return Taken(claimed, inputs, key_of(claimed, inputs), kept=None), unfit


def _finalize(services: Services, attempt: Attempt) -> JobStatus | None:
    job_id = attempt.claimed.job_id
    with services.relaxed() as session:
        rows = segment_queries.parts(session, job_id=job_id)
        measured = segment_queries.measured(session, job_id=job_id)
    store = PartStore(services.storage, job_id)
    try:
        with at_hand():
            gone = [row for row in rows if store.missing(row.files)]
    except ExhaustedError as away:
        told = refusal(away, stop_reason=lambda: attempt.lease.stop_reason)
        return conclude(services, attempt, told, segments=measured)
    if gone:
        return _make_again(services, attempt, gone)
    verdict = judge(
        lambda: _joined(services, attempt, store, rows, measured),
        stop_reason=lambda: attempt.lease.stop_reason,
    )
    return conclude(services, attempt, verdict, segments=measured)


def _joined(
    services: Services,
    attempt: Attempt,
    store: PartStore,
    rows: list[Row[Any]],
    measured: Measured,
) -> EngineResult:
    engine = services.registry.engine(attempt.claimed.engine)
    if not isinstance(engine, SegmentedEngine):
        message = f"the engine {attempt.claimed.engine} cannot join segments any more"
        raise EngineFaultError(message)
    item = attempt.item(services)
    kept = attempt.context.work_dir / "parts"
    kept.mkdir()
    with at_hand():
        parts = [
            store.result(row.files, row.data, usage, folder=kept / str(row.number))
            for row, usage in zip(rows, measured.reports, strict=True)
        ]
    return engine.joined(item.model, item.params, item.files, parts, item.context)


def _make_again(services: Services, attempt: Attempt, gone: list[Row[Any]]) -> JobStatus | None:
    """Have those segments computed again whose stored results are not whole any more."""
    claimed, numbers = attempt.claimed, [row.number for row in gone]
    error = {
        "code": "segment_lost",
        "retryable": True,
        "detail": "The results of some segments are no longer stored. Nothing is charged; submit "
        "the job again.",
    }
    if any(row.attempt >= MAX_ATTEMPTS for row in gone):
        return conclude(services, attempt, Failed(error))

    def write() -> None:
        with services.sessions.begin() as session:
            segment_joins.reopen(session, claimed=claimed, numbers=numbers, error=error)

    try:
        persist(write, for_s=PERSIST_FOR_S)
    except StaleFenceError as stale:
        log.warning("%s", stale)
        return None
    log.warning("%s: segments %s are computed again", claimed.job_id, numbers)
    return JobStatus.PROCESSING


def _task(request: Any, job_id: object) -> None:  # noqa: ANN401 - Celery's bound task
    if not isinstance(job_id, str):
        log.warning("message dropped: the job id is a %s", type(job_id).__name__)
        return
    try:
        execute(process_services.get(), job_id=job_id, worker=request.request.hostname)
    except SQLAlchemyError as error:
        log.warning("%s: left for another attempt, the database is away: %s", job_id, error)


finalize = shared_task(name=TaskName.FINALIZE.value, bind=True)(_task)
