"""The task ``reconcile``: compares the books once each night.

A hint that comes every half hour. The first one after two o'clock UTC does the work of its day,
whoever gets it; the row of the day is a unique key, so a second scheduler does nothing.
"""

import logging
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.reconciliation import Outcome, reconcile
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

FROM_HOUR_UTC = 2


def reconcile_nightly(services: Services, *, now: datetime) -> Outcome | None:
    """Reconcile if it is night and today's was not begun; None when there was nothing to do."""
    if now.hour < FROM_HOUR_UTC:
        return None
    return reconcile(services.sessions, asked_by="beat", day=now.date())


def _task() -> None:
    try:
        outcome = reconcile_nightly(process_services.get(), now=datetime.now(UTC))
    except OperationalError as error:
        log.warning("reconciliation waits for the database: %s", error)
        return
    if outcome is not None:
        log.info("reconciliation %d found %d", outcome.id, len(outcome.findings))


reconcile_task = shared_task(name=TaskName.RECONCILE.value)(_task)
