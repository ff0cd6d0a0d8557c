"""The task ``find_anomalies``: applies the rules about odd use; looking twice finds nothing new."""

import logging
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.anomalies.detection import look
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)


def find(services: Services) -> int:
    """Look once, in one transaction; returns how much is new."""
    with services.sessions.begin() as session:
        found = look(session, now=datetime.now(UTC))
        for finding in found:
            log.warning(
                "%s: %s %s of %s: %g, usual %g",
                finding.id,
                finding.subject_kind,
                finding.subject,
                finding.tenant_id,
                finding.observed,
                finding.expected,
            )
        return len(found)


def _task() -> None:
    try:
        log.info("found %d anomalies", find(process_services.get()))
    except OperationalError as error:
        log.warning("the rules about odd use wait for the database: %s", error)


find_anomalies = shared_task(name=TaskName.FIND_ANOMALIES.value)(_task)
