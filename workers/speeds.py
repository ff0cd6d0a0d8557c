"""The task ``measure_speeds``: keeps the table of measured speeds as new as the newest runs."""

import logging

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.speeds.measuring import measure
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)


def measure_all(services: Services) -> int:
    """Measure once, in one transaction; returns how many kinds of runs there were."""
    with services.sessions.begin() as session:
        return measure(session)


def _task() -> None:
    try:
        log.info("measured %d kinds of runs", measure_all(process_services.get()))
    except OperationalError as error:
        log.warning("speeds wait for the database: %s", error)


measure_speeds = shared_task(name=TaskName.MEASURE_SPEEDS.value)(_task)
