"""The task ``settle``: turns every accepted usage record into exactly one settlement.

A hint without arguments: it settles whatever waits until nothing does. Each job is one
transaction: charge and release, the job's usage, the webhook snapshot and its deliveries.
"""

import logging
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.orm import Session

from app.jobs.lifecycle import mark_settled
from app.jobs.record import JobRow
from app.jobs.view import job_view
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from billing import settlement
from billing.errors import BillingError
from billing.usage import unsettled
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

BATCH = 100
CONFLICT_RETRIES = 5
_CONFLICTS = frozenset({"40001", "40P01"})  # serialization failure, deadlock


def drain(services: Services) -> int:
    """Settle until nothing is left that this run has not tried; returns how many it settled.

    One job that cannot be settled does not hold up the others: it is logged, left, and tried
    again by the next hint.
    """
    tried: set[str] = set()
    settled = 0
    while True:
        with services.sessions() as session:
            waiting = [
                job for job in unsettled(session, limit=BATCH + len(tried)) if job not in tried
            ]
        if not waiting:
            return settled
        for job in waiting:
            tried.add(job)
            settled += _settle_or_leave(services, job)


def _settle_or_leave(services: Services, job: str) -> bool:
    try:
        return settle_job(services, job)
    except OperationalError:
        raise
    except (BillingError, SQLAlchemyError):
        log.exception("%s: not settled, left for the next hint", job)
        return False


def settle_job(services: Services, job: str) -> bool:
    """Settle one job in one transaction; False when it was settled before."""
    for attempt in range(1, CONFLICT_RETRIES + 1):
        try:
            with services.sessions.begin() as session:
                return _settle(session, services, job)
        except DBAPIError as error:
            if attempt == CONFLICT_RETRIES or _sqlstate(error) not in _CONFLICTS:
                raise
            log.info("%s: settlement met another transaction, trying again", job)
    return False


def _settle(session: Session, services: Services, job: str) -> bool:
    now = datetime.now(UTC)
    settled = settlement.settle(session, job=job, now=now)
    if settled is None:
        return False
    row = mark_settled(session, settlement=settled)
    if row is not None:
        _tell(session, services, row, now)
    return True


def _tell(session: Session, services: Services, row: JobRow, now: datetime) -> None:
    record_event(
        session,
        tenant_id=row["tenant_id"],
        event=EventType(f"job.{row['status']}"),
        data=job_view(row, links=services.links, now=now),
        at=now,
        job_id=row["id"],
        job_webhook=row["webhook"],
    )


def _sqlstate(error: DBAPIError) -> str | None:
    return getattr(error.orig, "sqlstate", None)


def _task() -> None:
    try:
        drain(process_services.get())
    except OperationalError as error:
        log.warning("settlement waits for the database: %s", error)


settle = shared_task(name=TaskName.SETTLE.value)(_task)
