"""The writer of segments: a long video cut, its segments claimed, ended and counted.

The third part of the one writer of jobs, for jobs in segments. Between the attempt that cut the
video and the one that joins it, such a job has no lease: each segment has a lease and a fence
of its own, the number of its attempt. Whoever ends a segment holds the row of the job meanwhile,
so that ends are counted one after the other, and the last one is known to be the last.

Nothing here commits: the caller's transaction is the step.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.jobs import segment_statements as statements
from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import MAX_ATTEMPTS, finish
from app.jobs.record import Claimed, Progress
from app.jobs.segment_queries import measured
from app.jobs.segment_record import ClaimedSegment, LostSegment, Part, PlannedSegment
from app.jobs.segment_usage import sum_of
from app.jobs.states import JobStatus, SegmentStatus
from app.jobs.usage import report_json
from engines.spec import Segment, UsageReport


def cut(session: Session, *, claimed: Claimed, plan: Sequence[PlannedSegment]) -> None:
    """Turn a claimed job into segments that wait; its lease ends, its attempt succeeded.

    Raises:
        StaleFenceError: the lease was lost; the caller rolls back.
    """
    made = session.execute(
        statements.CUT,
        {
            "job_id": claimed.job_id,
            "attempt": claimed.attempt,
            "count": len(plan),
            "frames": sum(each.frames for each in plan),
            "parts": json.dumps([asdict(each) for each in plan]),
        },
    ).all()
    if len(made) != len(plan):
        raise StaleFenceError(job_id=claimed.job_id, attempt=claimed.attempt)
    session.execute(statements.NOTIFY)


def mark_dispatched(
    session: Session, *, segments: Sequence[tuple[str, int]]
) -> list[tuple[str, int]]:
    """Stamp waiting segments as put on the broker; returns those that still waited."""
    if not segments:
        return []
    own = {"job_ids": [job for job, _ in segments], "numbers": [number for _, number in segments]}
    return [(row.job_id, row.number) for row in session.execute(statements.MARK_DISPATCHED, own)]


def claim(
    session: Session, *, job_id: str, number: int, worker: str, lease_s: float
) -> ClaimedSegment | None:
    """Take a waiting segment under a lease; None: somebody else has it, or its job ended."""
    row = session.execute(
        statements.CLAIM,
        {"job_id": job_id, "number": number, "worker": worker, "lease_s": lease_s},
    ).one_or_none()
    return None if row is None else _claimed(row)


def put_back(session: Session, *, job_id: str, number: int) -> None:
    """Let a segment be dispatched again that its worker had no room for; that was no attempt."""
    session.execute(statements.PUT_BACK, {"job_id": job_id, "number": number})


def renew(
    session: Session, *, claimed: ClaimedSegment, lease_s: float, progress: Progress | None
) -> bool:
    """Extend the lease, add the progress to the job's, return whether cancelling was asked for.

    Raises:
        StaleFenceError: the lease was lost, or the job ended; nothing was written.
    """
    told = {"done": progress and progress.done, "fps": progress and progress.fps}
    asked = session.execute(
        statements.RENEW, {**claimed.fence, "lease_s": lease_s, **told}
    ).scalar_one_or_none()
    if asked is None:
        raise claimed.stale
    session.execute(statements.ADD_UP, {"job_id": claimed.job.job_id})
    return bool(asked)


def end_done(
    session: Session, *, claimed: ClaimedSegment, part: Part, found: bool = False
) -> JobStatus:
    """Keep a segment's result and count it; the last one wakes the dispatcher.

    Returns what the job is now: canceled if that was asked for and nothing runs any more.
    ``found``: the result had been stored by an attempt that died before it could say so.

    Raises:
        StaleFenceError: the lease was lost, or the job ended; the caller rolls back.
    """
    job = _lock(session, claimed)
    _end(
        session,
        claimed,
        status=SegmentStatus.DONE,
        outcome="found" if found else "done",
        part=part,
    )
    job_id = claimed.job.job_id
    is_last = session.execute(statements.COUNT_DONE, {"job_id": job_id}).scalar_one()
    session.execute(statements.ADD_UP, {"job_id": job_id})
    if is_last:
        session.execute(statements.NOTIFY)
    return _status_after(session, job)


def end_canceled(
    session: Session, *, claimed: ClaimedSegment, usage: UsageReport | None
) -> JobStatus:
    """Note what a stopped segment did until then; the last one that ran ends the job.

    Returns what the job is now.

    Raises:
        StaleFenceError: the lease was lost, or the job ended; the caller rolls back.
    """
    job = _lock(session, claimed)
    part = None if usage is None else Part((), {}, usage, claimed.attempt)
    _end(session, claimed, status=SegmentStatus.CANCELED, outcome="canceled", part=part)
    return _status_after(session, job)


def give_back(session: Session, *, claimed: ClaimedSegment, error: Mapping[str, Any]) -> JobStatus:
    """End an attempt that another one may repair; the job fails with its last one.

    Returns what the job is now.

    Raises:
        StaleFenceError: the lease was lost, or the job ended; the caller rolls back.
    """
    if claimed.attempt >= MAX_ATTEMPTS:
        return fail(session, claimed=claimed, error=error)
    job = _lock(session, claimed)
    _end(session, claimed, status=SegmentStatus.WAITING, outcome="failed", error=error)
    session.execute(statements.NOTIFY)
    return _status_after(session, job)


def fail(session: Session, *, claimed: ClaimedSegment, error: Mapping[str, Any]) -> JobStatus:
    """End the job as failed, once, whatever its other segments do; they find out and stop.

    Raises:
        StaleFenceError: the lease was lost, or the job ended before; the caller rolls back.
    """
    job = _lock(session, claimed)
    _end(session, claimed, status=SegmentStatus.DROPPED, outcome="failed", error=error)
    if job.is_cancel_asked:
        return _status_after(session, job)
    _finish(session, job, outcome=JobStatus.FAILED, error=error)
    return JobStatus.FAILED


def rescue_expired(session: Session, *, limit: int = 100) -> list[LostSegment]:
    """Let segments of dead workers wait again; their job fails after the last attempt of one."""
    rescued: list[LostSegment] = []
    for job_id in session.scalars(statements.WITH_LOST, {"limit": limit}).all():
        job = session.execute(statements.LOCK_JOB_IF_FREE, {"job_id": job_id}).one_or_none()
        if job is not None:
            rescued += _rescue(session, job)
    if rescued:
        session.execute(statements.NOTIFY)
    return rescued


def end_stopped(session: Session, *, limit: int = 100) -> list[str]:
    """End canceled jobs in segments of which none runs any more; returns their ids."""
    jobs = session.execute(statements.STOPPED, {"limit": limit}).all()
    for job in jobs:
        _finish_canceled(session, job)
    return [job.id for job in jobs]


def _claimed(row: Row[Any]) -> ClaimedSegment:
    job = Claimed(
        job_id=row.job_id,
        tenant_id=row.tenant_id,
        attempt=row.job_attempt,
        engine=row.engine,
        model=row.model,
        tenant_model_id=row.tenant_model_id,
        params=row.params,
        inputs=row.inputs,
        use_cache=row.use_cache,
        max_runtime_s=row.max_runtime_s,
        priority=row.priority,
        segments_wanted=row.segments_wanted,
        created_at=row.asked_at,
        queue_ms=row.queue_ms,
    )
    segment = Segment(
        number=row.number,
        of=row.of,
        first_frame=row.first_frame,
        frames=row.frames,
        start_pts=row.start_pts,
        end_pts=row.end_pts,
    )
    return ClaimedSegment(job, segment, row.attempt, row.object_name)


def _lock(session: Session, claimed: ClaimedSegment) -> Row[Any]:
    job = session.execute(statements.LOCK_JOB, {"job_id": claimed.job.job_id}).one_or_none()
    if job is None:
        raise claimed.stale
    return job


_NO_PART: Final[Mapping[str, Any]] = {"files": None, "data": None, "report": None, "made_by": None}


def _end(
    session: Session,
    claimed: ClaimedSegment,
    *,
    status: SegmentStatus,
    outcome: str,
    part: Part | None = None,
    error: Mapping[str, Any] | None = None,
) -> None:
    kept = (
        _NO_PART
        if part is None
        else {
            "files": json.dumps(list(part.files)),
            "data": json.dumps(part.data, allow_nan=False),
            "report": json.dumps(report_json(part.usage), allow_nan=False),
            "made_by": part.made_by,
        }
    )
    told = {
        **claimed.fence,
        **kept,
        "status": status.value,
        "outcome": outcome,
        "error": None if error is None else json.dumps(error),
    }
    if session.execute(statements.END, told).one_or_none() is None:
        raise claimed.stale


def _end_if_stopped(session: Session, job: Row[Any]) -> bool:
    """End a canceled job with the last of its running segments; the caller holds its row."""
    if not job.is_cancel_asked:
        return False
    if session.execute(statements.ANY_RUNNING, {"job_id": job.id}).scalar_one():
        return False
    _finish_canceled(session, job)
    return True


def _status_after(session: Session, job: Row[Any]) -> JobStatus:
    return JobStatus.CANCELED if _end_if_stopped(session, job) else JobStatus.PROCESSING


def _finish_canceled(session: Session, job: Row[Any]) -> None:
    done = measured(session, job_id=job.id)
    usage = sum_of(done.reports) if done.reports else None
    _finish(session, job, outcome=JobStatus.CANCELED, usage=usage, wall_us=done.wall_us)


def _finish(session: Session, job: Row[Any], *, outcome: JobStatus, **told: Any) -> None:  # noqa: ANN401 - as ``finish`` takes them
    finish(session, job_id=job.id, attempt=job.attempt, outcome=outcome, **told)
    session.execute(statements.DROP_REST, {"job_id": job.id})


def _rescue(session: Session, job: Row[Any]) -> list[LostSegment]:
    rows = session.execute(statements.RESCUE, {"job_id": job.id}).all()
    lost = [LostSegment(job.id, row.number, row.attempt) for row in rows]
    if _end_if_stopped(session, job) or job.is_cancel_asked:
        return lost
    hopeless = next((each for each in lost if each.attempt >= MAX_ATTEMPTS), None)
    if hopeless is not None:
        _finish(
            session,
            job,
            outcome=JobStatus.FAILED,
            error={
                "code": "attempts_exhausted",
                "retryable": True,
                "detail": f"Segment {hopeless.number + 1} of the video was started "
                f"{hopeless.attempt} times and its worker was lost each time. Nothing is charged; "
                "submit it again or contact support.",
            },
        )
    return lost
