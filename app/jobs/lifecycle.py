"""The background half of the one writer of jobs: claim, renew, advance, finish, settle.

``app.jobs.service`` (what a customer does) and this module (what workers and time do) are together
*the writer*: nothing else changes a job or an attempt. Every change is one
conditional UPDATE whose WHERE names the statuses of ``states.TRANSITIONS``; a worker's writes are
also guarded by its fence, the attempt number. Leases count by the database's clock alone.

Nothing here commits: the caller's transaction is the step.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.files.retention import DEFAULT
from app.jobs import statements
from app.jobs.ending import book_usage
from app.jobs.errors import StaleFenceError
from app.jobs.record import Claimed, JobRow, Progress, Rescued, all_rows, one_row
from app.jobs.states import LEASED, TERMINAL, JobStatus, sources_of
from app.jobs.usage import public_usage, report_json
from billing.settlement import Settlement
from engines.spec import UsageReport

MAX_ATTEMPTS = 3

_TERMINAL = frozenset(status.value for status in TERMINAL)


def mark_dispatched(session: Session, *, job_ids: Sequence[str]) -> list[str]:
    """Stamp queued jobs as put on the broker; returns those that were still queued."""
    return list(session.scalars(statements.MARK_DISPATCHED, {"job_ids": list(job_ids)}))


def clear_dispatched(session: Session, *, job_ids: Sequence[str]) -> None:
    """Take the stamp back, when the broker did not take the messages after all."""
    session.execute(statements.CLEAR_DISPATCHED, {"job_ids": list(job_ids)})


def claim(session: Session, *, job_id: str, worker: str, lease_s: float) -> Claimed | None:
    """Take a queued job under a lease of ``lease_s`` seconds and open its next attempt.

    None: somebody else has it, it ended, or its start deadline has passed. A duplicate message is
    therefore harmless.
    """
    row = one_row(
        session.execute(statements.CLAIM, {"job_id": job_id, "worker": worker, "lease_s": lease_s})
    )
    return None if row is None else Claimed(**row)


def claim_many(
    session: Session, *, job_ids: Sequence[str], worker: str, lease_s: float
) -> list[Claimed]:
    """Take those of the given queued jobs that are still free, each under a lease of its own.

    In the order given. Jobs that another transaction is at are left out, not waited for.
    """
    wanted = {"job_ids": list(job_ids), "worker": worker, "lease_s": lease_s}
    return [Claimed(**row) for row in all_rows(session.execute(statements.CLAIM_MANY, wanted))]


def renew(
    session: Session,
    *,
    job_id: str,
    attempt: int,
    lease_s: float,
    progress: Progress | None = None,
) -> bool:
    """Extend the lease, tell the progress, and return whether cancelling was asked for.

    Raises:
        StaleFenceError: the lease was lost; nothing was written.
    """
    asked = session.execute(
        statements.RENEW,
        {
            "job_id": job_id,
            "attempt": attempt,
            "lease_s": lease_s,
            "leased": _names(LEASED),
            **_progress(progress),
        },
    ).scalar_one_or_none()
    if asked is None:
        raise StaleFenceError(job_id=job_id, attempt=attempt)
    return bool(asked)


def advance_many(session: Session, *, claims: Sequence[Claimed], to: JobStatus) -> None:
    """Move several leased jobs as ``advance`` does one; all of them or none.

    Raises:
        StaleFenceError: one is not this worker's any more; the caller rolls back.
    """
    _check_inside_lease(to)
    moved = session.scalars(
        statements.ADVANCE_MANY,
        {
            "job_ids": [each.job_id for each in claims],
            "attempts": [each.attempt for each in claims],
            "to": to.value,
            "sources": _names(sources_of(to) & LEASED),
        },
    ).all()
    for each in claims:
        if each.job_id not in moved:
            raise StaleFenceError(job_id=each.job_id, attempt=each.attempt)


def _check_inside_lease(to: JobStatus) -> None:
    if to not in LEASED:
        message = f"advance moves inside a lease; use finish or give_back to reach {to}"
        raise ValueError(message)


def advance(session: Session, *, job_id: str, attempt: int, to: JobStatus) -> None:
    """Move a leased job to ``processing`` or ``finalizing``.

    Raises:
        StaleFenceError: the lease was lost, or the job is not where that arrow starts.
    """
    _check_inside_lease(to)
    moved = session.execute(
        statements.ADVANCE,
        {
            "job_id": job_id,
            "attempt": attempt,
            "to": to.value,
            "sources": _names(sources_of(to) & LEASED),
        },
    ).scalar_one_or_none()
    if moved is None:
        raise StaleFenceError(job_id=job_id, attempt=attempt)


def finish(
    session: Session,
    *,
    job_id: str,
    attempt: int,
    outcome: JobStatus,
    output: Mapping[str, Any] | None = None,
    error: Mapping[str, Any] | None = None,
    usage: UsageReport | None = None,
    cached: bool = False,
    progress: Progress | None = None,
    wall_us: int | None = None,
    keep: timedelta = DEFAULT.outputs,
) -> JobRow:
    """End a job: attempt closed, job terminal, usage record accepted, billing woken.

    ``output`` is ``{"files": [app.files.service.output_entry(file), ...], "data": {...}}``,
    ``error`` is ``{"code", "detail", "retryable"}``. ``usage`` is kept with the attempt whatever
    the outcome; only ``succeeded`` and ``canceled`` make it billable. ``cached``: the result is a
    copy of an earlier one, which is charged nothing. ``wall_us`` is how long the usage took where
    that is not this attempt: the sum over segments. ``keep``: how long the outputs live.

    Raises:
        StaleFenceError: the lease was lost or the arrow does not exist; nothing was written.
    """
    if outcome not in TERMINAL or outcome is JobStatus.EXPIRED:
        message = f"a run ends as succeeded, failed or canceled, not {outcome}"
        raise ValueError(message)
    row = one_row(
        session.execute(
            statements.FINISH,
            {
                "job_id": job_id,
                "attempt": attempt,
                "outcome": outcome.value,
                "sources": _names(sources_of(outcome) & LEASED),
                "output": _json(output),
                "error": _json(error),
                "report": _json(None if usage is None else report_json(usage)),
                "retention_s": keep.total_seconds(),
                **_progress(progress),
            },
        )
    )
    if row is None:
        raise StaleFenceError(job_id=job_id, attempt=attempt)
    wall_us = row["attempt_wall_us"] if wall_us is None else wall_us
    book_usage(session, ended=row, report=usage, wall_us=wall_us, cached=cached)
    return row


def give_back(
    session: Session,
    *,
    job_id: str,
    attempt: int,
    error: Mapping[str, Any],
    done: UsageReport | None = None,
    done_us: int | None = None,
) -> JobStatus:
    """End an attempt that another one may repair: out of memory here, or the worker shuts down.

    The job is queued again (in segments: waits to be finalized again), or ends as failed with
    ``error`` after the last attempt, or as canceled when that was asked for meanwhile; ``done`` is
    charged then, which took ``done_us``. Returns its new status.

    Raises:
        StaleFenceError: the lease was lost; nothing was written.
    """
    freed = session.execute(
        statements.GIVE_BACK,
        {
            "job_id": job_id,
            "attempt": attempt,
            "error": _json(error),
            "leased": _names(LEASED),
            "max_attempts": MAX_ATTEMPTS,
        },
    ).one_or_none()
    if freed is not None:
        return JobStatus(freed.status)
    last = session.execute(
        text("SELECT cancel_requested_at IS NOT NULL FROM job WHERE id = :id"), {"id": job_id}
    ).scalar_one_or_none()
    outcome = JobStatus.CANCELED if last else JobStatus.FAILED
    finish(
        session,
        job_id=job_id,
        attempt=attempt,
        outcome=outcome,
        error=error if outcome is JobStatus.FAILED else None,
        usage=done if outcome is JobStatus.CANCELED else None,
        wall_us=done_us,
    )
    return outcome


def rescue_expired_leases(session: Session, *, limit: int = 100) -> list[Rescued]:
    """Give jobs of dead workers back to the queue, or end them after the last attempt.

    The attempt number stays: the next claim raises it, so a worker that comes back to life after
    its lease writes nothing.
    """
    rows = all_rows(
        session.execute(statements.RESCUE, {"limit": limit, "max_attempts": MAX_ATTEMPTS})
    )
    for row in rows:
        if row["status"] in _TERMINAL:
            book_usage(session, ended=row)
    return [Rescued(job_id=r["id"], attempt=r["attempt"], status=r["status"]) for r in rows]


def expire_due(session: Session, *, limit: int = 100) -> list[str]:
    """End queued jobs that missed their start deadline, free of charge; returns their ids."""
    rows = all_rows(session.execute(statements.EXPIRE, {"limit": limit}))
    for row in rows:
        book_usage(session, ended=row)
    return [row["id"] for row in rows if row["status"] == JobStatus.EXPIRED]


def mark_settled(session: Session, *, settlement: Settlement) -> JobRow | None:
    """``mark_all_settled`` for one job; None if it was marked before."""
    rows = mark_all_settled(session, settlements=[settlement])
    return rows[0] if rows else None


def mark_all_settled(session: Session, *, settlements: Sequence[Settlement]) -> list[JobRow]:
    """Write what jobs cost; in the transaction of the settlements themselves, in two statements.

    Returns the rows for the webhook snapshots, without jobs that were marked before. Wakes those
    who wait for the jobs (channel ``pixelmeter_settled``) when the transaction commits.
    """
    by_job = {settlement.job: settlement for settlement in settlements}
    jobs = all_rows(session.execute(statements.SETTLING, {"job_ids": list(by_job)}))
    if not jobs:
        return []
    usages = [
        _json(public_usage(job, report=job["usage_report"], settlement=by_job[job["id"]]))
        for job in jobs
    ]
    told = {"job_ids": [job["id"] for job in jobs], "usages": usages}
    return list(all_rows(session.execute(statements.SETTLED, told)))


def _names(statuses: frozenset[JobStatus]) -> list[str]:
    return [status.value for status in statuses]


def _progress(progress: Progress | None) -> dict[str, Any]:
    """Parameters of a statement; nulls leave what was written before."""
    return {
        "done": progress.done if progress else None,
        "total": progress.total if progress else None,
        "unit": progress.unit if progress else None,
        "fps": progress.fps if progress else None,
    }


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value, allow_nan=False)
