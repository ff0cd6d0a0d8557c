"""The task ``seal_audit``: puts booked journals into the audit chain, away from the money's way."""

import logging

from celery import shared_task
from sqlalchemy.exc import OperationalError

from billing.audit import seal
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)


def seal_waiting(services: Services) -> int:
    """Seal until nothing waits; each batch is its own transaction. Returns how many."""
    total = 0
    while True:
        with services.sessions.begin() as session:
            sealed = seal(session)
        total += sealed
        if not sealed:
            return total


def _task() -> None:
    try:
        log.info("sealed %d journals", seal_waiting(process_services.get()))
    except OperationalError as error:
        log.warning("the audit chain waits for the database: %s", error)


seal_audit = shared_task(name=TaskName.SEAL_AUDIT.value)(_task)
