"""The task ``grant_due``: gives what rules promise for a date that has begun somewhere.

Every five minutes; a tick that was missed is made up for by the next one, for seven days.
"""

import logging
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.grants.tick import BATCH, grant_due
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)


def grant_all_due(services: Services, *, now: datetime) -> int:
    """Grant until nothing is missing; each batch is its own transaction. Returns how many."""
    total = 0
    while True:
        with services.sessions.begin() as session:
            granted = grant_due(session, now=now)
        total += granted
        if granted < BATCH:
            return total


def _task() -> None:
    try:
        granted = grant_all_due(process_services.get(), now=datetime.now(UTC))
    except OperationalError as error:
        log.warning("grants wait for the database: %s", error)
        return
    if granted:
        log.info("granted %d times by rule", granted)


grant = shared_task(name=TaskName.GRANT.value)(_task)
