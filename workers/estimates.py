"""The task ``start_estimates``: submits the jobs of batches whose tokens have come."""

import logging
from datetime import UTC, datetime

from celery import shared_task
from sqlalchemy.exc import OperationalError

from app.estimates.start import submit_started
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

AT_ONCE = 100  # jobs in one go: settlements wait for no more in the same worker


def start_all(services: Services) -> int:
    """Submit what waits, at most ``AT_ONCE`` jobs; the next tick goes on. Returns how many."""
    return submit_started(
        services.sessions,
        catalog=services.catalog,
        box=services.box,
        desk=services.files_only,
        limit=AT_ONCE,
        now=datetime.now(UTC),
    )


def _task() -> None:
    try:
        submitted = start_all(process_services.get())
    except OperationalError as error:
        log.warning("estimates wait for the database: %s", error)
        return
    if submitted:
        log.info("submitted %d jobs of estimates", submitted)


start_estimates = shared_task(name=TaskName.START_ESTIMATES.value)(_task)
