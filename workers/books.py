"""The task ``keep_books``: subscriptions renewed, near tiers told, months that are over invoiced.

Every five minutes. Each part is idempotent by the key of what it books, so a tick that was missed
is made up for by the next one, and two at once do the work of one.
"""

import logging
from datetime import UTC, datetime, timedelta

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.invoicing.months import close_due_months
from app.invoicing.nearing import tell_near_tiers
from app.invoicing.renewals import renew_due
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

LOOK_BACK = timedelta(hours=1)  # longer than ticks are apart, also after a short outage


def keep_all_books(services: Services, *, now: datetime) -> None:
    """Do what is due; each booking is its own transaction."""
    renewed = renew_due(services.sessions, now=now)
    told = tell_near_tiers(services.sessions, since=now - LOOK_BACK, now=now)
    issued = close_due_months(services.sessions, actor="month end", now=now)
    if renewed or told or issued:
        log.info("renewed %d, told %d tiers, issued %d invoices", renewed, told, len(issued))


def _task() -> None:
    try:
        keep_all_books(process_services.get(), now=datetime.now(UTC))
    except OperationalError as error:
        log.warning("the books wait for the database: %s", error)


keep_books = shared_task(name=TaskName.KEEP_BOOKS.value)(_task)
