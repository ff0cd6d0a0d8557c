"""The task ``settle``: turns every accepted usage record into exactly one settlement.

A hint without arguments: it settles whatever waits until nothing does. Charge and release, the
job's usage, the webhook snapshot and its deliveries are one transaction.
"""

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy import event
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.jobs.lifecycle import mark_all_settled
from app.jobs.record import JobRow
from app.jobs.view import job_view
from app.webhooks.events import EventType
from app.webhooks.service import News, record_events
from billing.settlement import ChargeStatus, Settlement, settle_many
from billing.usage import unsettled
from workers.batches import end_batches
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

# Settlements of one transaction. A fold costs little more than its rows, so this many are settled
# sooner than one by one; the wallets they touch are locked until its commit, some 30 ms, and a
# submit must not wait for longer.
BATCH = 200
CONFLICT_RETRIES = 5
_CONFLICTS = frozenset({"40001", "40P01"})  # serialization failure, deadlock


def drain(services: Services) -> int:
    """Settle until nothing is left that this run has not tried; returns how many it settled.

    One job that cannot be settled does not hold up the others: it is logged, left, and tried
    again by the next hint.
    """
    left: set[str] = set()
    settled = 0
    while True:
        try:
            jobs = _settle_folded(services, left, size=BATCH)
        except OperationalError:
            raise
        except Exception:
            log.warning("not settled together, finding out which one it is", exc_info=True)
            due = _due(services, left)
            if not due:
                raise
            settled += sum(_settle_or_leave(services, job, left) for job in due)
            continue
        settled += len(jobs)
        # A short fold was the last one: whatever is accepted later brings its own hint.
        if len(jobs) < BATCH:
            return settled


def _settle_folded(services: Services, left: set[str], *, size: int) -> list[str]:
    """Settle up to ``size`` jobs in one transaction, again if it met another one."""
    for attempt in range(1, CONFLICT_RETRIES + 1):
        try:
            with services.sessions.begin() as session:
                due = unsettled(session, limit=size + len(left))
                jobs = [job for job in due if job not in left][:size]
                settle_jobs(session, services, jobs)
                return jobs
        except OperationalError as error:
            if not _is_worth_repeating(error) or attempt == CONFLICT_RETRIES:
                raise
            log.info("settlement was interrupted, trying again: %s", error)
    return []


def _due(services: Services, left: set[str]) -> list[str]:
    with services.sessions() as session:
        return [job for job in unsettled(session, limit=BATCH + len(left)) if job not in left]


def _settle_or_leave(services: Services, job: str, left: set[str]) -> bool:
    try:
        with services.sessions.begin() as session:
            settle_jobs(session, services, [job])
    except OperationalError:
        raise
    except Exception:  # a bug in one job's settlement must not stop everybody's
        log.exception("%s: not settled, left for the next hint", job)
        left.add(job)
        return False
    return True


def settle_jobs(session: Session, services: Services, jobs: Sequence[str]) -> int:
    """Settle the given jobs in the caller's transaction; those settled before change nothing."""
    if not jobs:
        return 0
    now = datetime.now(UTC)
    settlements = settle_many(session, jobs=jobs)
    for settlement in settlements:
        _warn_of_odd(settlement)
    rows = mark_all_settled(session, settlements=settlements)
    if services.balances.enabled:
        tenants = {row["tenant_id"] for row in rows}
        event.listen(session, "after_commit", lambda _: _show(services, tenants), once=True)
    record_events(session, [_news(services, row, now) for row in rows], at=now)
    return len(settlements)


def _show(services: Services, tenants: Collection[str]) -> None:
    """Keep the new balances where they are shown; a failure costs nothing but their age."""
    try:
        with services.sessions() as session:
            for tenant in tenants:
                services.balances.refresh(session, tenant)
    except SQLAlchemyError:
        log.warning("settled, but the balances to show were not read", exc_info=True)


def _warn_of_odd(settlement: Settlement) -> None:
    """Somebody has to look at a meter that measured what cannot be, or more than was quoted."""
    if settlement.status is not ChargeStatus.SETTLED or settlement.absorbed:
        log.warning(
            "%s: settled as %s, %d micro-tokens above the quote absorbed",
            settlement.job,
            settlement.status,
            settlement.absorbed,
        )


def _news(services: Services, row: JobRow, now: datetime) -> News:
    return News(
        tenant_id=row["tenant_id"],
        event=EventType(f"job.{row['status']}"),
        data=job_view(row, links=services.links, now=now),
        job_id=row["id"],
        job_webhook=row["webhook"],
    )


def _is_worth_repeating(error: OperationalError) -> bool:
    """Whether it met another transaction, or a pooled connection turned out to be dead."""
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _CONFLICTS


def _task() -> None:
    try:
        services = process_services.get()
        settled = drain(services)
        log.info("settled %d", settled)
        if settled:
            end_batches(services)
    except OperationalError as error:
        log.warning("settlement waits for the database: %s", error)


settle = shared_task(name=TaskName.SETTLE.value, send_events=False)(_task)
