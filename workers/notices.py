"""The task ``tell_limits``: caps that fill up and balances that run low, told once per crossing."""

import logging
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.limits.notices import tell_of_crossings
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)


def tell(services: Services) -> int:
    """Look once, in one transaction; returns how many crossings were told."""
    with services.sessions.begin() as session:
        return tell_of_crossings(session, at=datetime.now(UTC))


def _task() -> None:
    try:
        log.info("told of %d limits", tell(process_services.get()))
    except OperationalError as error:
        log.warning("notices wait for the database: %s", error)


tell_limits = shared_task(name=TaskName.TELL_LIMITS.value)(_task)
