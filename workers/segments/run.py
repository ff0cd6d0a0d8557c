"""The task ``run_segment``: one attempt of one segment of a long video.

As with jobs, the message is only a hint: who claims the segment first owns the attempt. A result
that an earlier attempt had stored before it died is taken as it is; nothing runs then.
"""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from celery import shared_task
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.jobs import segment_statements as statements
from app.jobs import segments, speeds
from app.jobs.errors import StaleFenceError
from app.jobs.record import Progress
from app.jobs.segment_record import ClaimedSegment, Part
from app.jobs.states import JobStatus
from app.storage import StorageUnavailableError
from engines.errors import ExhaustedError
from engines.spec import EngineResult, MediaInfo
from workers.attempt import Attempt, Taken, begin, key_of
from workers.attempt_lease import LEASE_S, StopReason
from workers.conclusion import PERSIST_FOR_S
from workers.inputs import locate
from workers.node_disk import never_fits
from workers.persistence import persist
from workers.routing import TaskName
from workers.segments.cleaning import clean_ended
from workers.segments.part_store import PartStore
from workers.services import Services, process_services
from workers.storing import persist_stored
from workers.verdict import (
    Canceled,
    Failed,
    Retryable,
    Succeeded,
    Superseded,
    Verdict,
    judge,
    refusal,
)

log = logging.getLogger(__name__)

CLAIM_FOR_S = 5.0

_HAS_ENDED = text("SELECT finished_at IS NOT NULL FROM job WHERE id = :job_id")


@dataclass(frozen=True, slots=True)
class _Taken:
    """A segment that was just claimed."""

    claimed: ClaimedSegment
    taken: Taken
    refusal: Failed | None = None  # it fits on no worker

    @property
    def label(self) -> str:
        """For the log."""
        return f"{self.claimed.job.job_id}/{self.claimed.segment.number}"


def execute(services: Services, *, job_id: str, number: int, worker: str) -> JobStatus | None:
    """Run one attempt; returns what its job is now, None when nothing was to be done.

    Never raises for what an engine, a customer or a lost lease can cause.
    """
    mine = persist(lambda: _claim(services, job_id, number, worker), for_s=CLAIM_FOR_S)
    if mine is None:
        log.info("%s/%d: nothing to claim, or no room", job_id, number)
        return None
    job = mine.claimed.job
    attempt = begin(services, mine.taken, renewal=_renewal(mine.claimed))
    store = PartStore(services.storage, job_id)
    try:
        found = store.find(mine.claimed.object_name, folder=attempt.inputs_folder)
        if found is not None and mine.refusal is None:
            return _write(services, mine, partial(_end_done, part=found, found=True, mine=mine))
        verdict = mine.refusal or judge(
            lambda: _run(services, mine, attempt), stop_reason=lambda: attempt.lease.stop_reason
        )
        return _conclude(services, mine, attempt, verdict)
    finally:
        attempt.close()
        services.retirement.used(job.engine, job.model)
        services.retirement.let_go(services.registry)


def _claim(services: Services, job_id: str, number: int, worker: str) -> _Taken | None:
    with services.relaxed.begin() as session:
        need = session.execute(statements.NEED, {"job_id": job_id, "number": number}).one_or_none()
        if need is None:
            return None
        refusal = None
        if not services.node_disk.has_room(session, worker=worker, need_bytes=need.work_bytes):
            refusal = never_fits(session, engine=need.engine, need_bytes=need.work_bytes)
            if refusal is None:  # later, or on another node
                segments.put_back(session, job_id=job_id, number=number)
                return None
        claimed = segments.claim(
            session, job_id=job_id, number=number, worker=worker, lease_s=LEASE_S
        )
        if claimed is None:
            return None
        [inputs] = locate(session, services, [claimed.job])
    taken = Taken(claimed.job, inputs, key_of(claimed.job, inputs), kept=None)
    return _Taken(claimed, taken, refusal)


def _renewal(claimed: ClaimedSegment) -> Callable[[Session, float, Progress | None], bool]:
    def renew(session: Session, lease_s: float, progress: Progress | None) -> bool:
        return segments.renew(session, claimed=claimed, lease_s=lease_s, progress=progress)

    return renew


def _run(services: Services, mine: _Taken, attempt: Attempt) -> EngineResult:
    job = mine.claimed.job
    attempt.context.checkpoint()
    if job.tenant_model_id is None:
        services.readiness.make_ready(services.registry, job.engine, job.model)
    item = attempt.item(services)
    files = replace(item.files, segment=mine.claimed.segment)
    result = services.registry.engine(job.engine).run(item.model, item.params, files, item.context)
    if attempt.lease.stop_reason is StopReason.LEASE_LOST:
        attempt.context.checkpoint()  # somebody else computes it: nothing is stored
    return result


def _conclude(
    services: Services, mine: _Taken, attempt: Attempt, verdict: Verdict
) -> JobStatus | None:
    claimed = mine.claimed
    match verdict:
        case Succeeded(result):
            try:
                part = _kept(services, mine, attempt, result)
            except ExhaustedError as away:
                again = refusal(away, stop_reason=lambda: attempt.lease.stop_reason)
                return _conclude(services, mine, attempt, again)
            info = attempt.taken.inputs.target_info()
            return _write(services, mine, partial(_end_done, part=part, info=info, mine=mine))
        case Superseded():
            log.info("%s: attempt %d superseded", mine.label, claimed.attempt)
            return None
        case Failed(error):
            return _write(services, mine, partial(segments.fail, claimed=claimed, error=error))
        case Retryable(error):
            return _write(services, mine, partial(segments.give_back, claimed=claimed, error=error))
        case Canceled(usage):
            return _write(
                services, mine, partial(segments.end_canceled, claimed=claimed, usage=usage)
            )


def _kept(services: Services, mine: _Taken, attempt: Attempt, result: EngineResult) -> Part:
    store = PartStore(services.storage, mine.claimed.job.job_id)
    return persist_stored(
        lambda: store.keep(
            mine.claimed.object_name,
            result,
            attempt=mine.claimed.attempt,
            folder=attempt.context.work_dir,
        ),
        for_s=PERSIST_FOR_S,
    )


def _end_done(
    session: Session,
    *,
    mine: _Taken,
    part: Part,
    info: MediaInfo | None = None,
    found: bool = False,
) -> JobStatus:
    status = segments.end_done(session, claimed=mine.claimed, part=part, found=found)
    if info is not None:
        speeds.note(
            session,
            engine=mine.claimed.job.engine,
            model=mine.claimed.job.model,
            size=(info.width, info.height),
            frames=mine.claimed.segment.frames,
            gpu_ms=part.usage.gpu_ms,
        )
    return status


def _write(
    services: Services, mine: _Taken, step: Callable[[Session], JobStatus]
) -> JobStatus | None:
    """Write the end of an attempt in one transaction; None: it was not its to write."""

    def write() -> JobStatus:
        with services.sessions.begin() as session:
            return step(session)

    claimed = mine.claimed
    try:
        status = persist(write, for_s=PERSIST_FOR_S)
    except StaleFenceError as stale:
        log.warning("%s", stale)
        _forget(services, claimed)
        return None
    log.info("%s: attempt %d ended, job %s", mine.label, claimed.attempt, status)
    if status in {JobStatus.FAILED, JobStatus.CANCELED}:
        clean_ended(services)
    return status


def _forget(services: Services, claimed: ClaimedSegment) -> None:
    """Delete what this attempt stored in vain; if the job lives on, the note may be another's."""
    store = PartStore(services.storage, claimed.job.job_id)
    with services.relaxed() as session:
        asked = {"job_id": claimed.job.job_id}
        has_ended = session.execute(_HAS_ENDED, asked).scalar_one_or_none()
    if has_ended:
        with contextlib.suppress(StorageUnavailableError):  # the collection of garbage will
            store.drop(claimed.object_name, attempts=[claimed.attempt])


def _task(request: Any, job_id: object, number: object) -> None:  # noqa: ANN401 - Celery's bound task
    if not isinstance(job_id, str) or not isinstance(number, str) or not number.isdecimal():
        log.warning("message dropped: no segment has this name")
        return
    try:
        execute(
            process_services.get(),
            job_id=job_id,
            number=int(number),
            worker=request.request.hostname,
        )
    except SQLAlchemyError as error:
        log.warning(
            "%s/%s: left for another attempt, the database is away: %s", job_id, number, error
        )


run_segment = shared_task(name=TaskName.RUN_SEGMENT.value, bind=True)(_task)
