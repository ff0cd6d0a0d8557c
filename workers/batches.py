"""The task ``tend_batches``: what a crash has left half done of a batch, and every batch's end.

Batches end right after the settlement of their last job (``workers.settle``); here again, in case
that worker died in between.
"""

import logging

from celery import shared_task
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from app.batches import completion, opening, queries
from app.jobs import canceling
from workers.routing import TaskName
from workers.services import Services, process_services

log = logging.getLogger(__name__)

_NOTIFY_JOBS = text("SELECT pg_notify('pixelmeter_jobs', '')")


def tend(services: Services) -> None:
    """Make the jobs that were not made, end those that were canceled, end what is over."""
    with services.sessions() as session:
        interrupted, canceled = queries.interrupted(session), queries.canceling(session)
    for batch_id in interrupted:
        _make_all(services, batch_id)
    for batch_id in canceled:
        _end_queued(services, batch_id)
    end_batches(services)


def end_batches(services: Services) -> int:
    """End every batch that is over; returns how many this call ended.

    One that cannot be ended does not hold up the others: it is logged and tried again.
    """
    with services.sessions() as session:
        over = completion.over(session)
    return sum(_end(services, batch_id) for batch_id in over)


def _end(services: Services, batch_id: str) -> bool:
    desk = completion.Desk(
        services.storage, services.links, services.box, services.settings.retention.outputs
    )
    try:
        with services.sessions.begin() as session:
            ended = completion.finish(session, desk, batch_id=batch_id)
    except OperationalError:
        raise
    except Exception:  # a bug, or a full disk, in one batch must not stop everybody's
        log.exception("%s: not ended, left for the next look", batch_id)
        return False
    if ended:
        log.info("%s ended", batch_id)
    return ended


def _make_all(services: Services, batch_id: str) -> None:
    made = 1
    while made:
        with services.sessions.begin() as session:
            made = opening.make_jobs(session, batch_id=batch_id)
            session.execute(_NOTIFY_JOBS)
        if made:
            log.info("%s: made %d jobs that had been left", batch_id, made)


def _end_queued(services: Services, batch_id: str) -> None:
    with services.sessions.begin() as session:
        canceling.tell_to_cancel(session, batch_id=batch_id)
    ended = 1
    while ended:
        with services.sessions.begin() as session:
            ended = canceling.end_queued(session, batch_id=batch_id)


def _task() -> None:
    try:
        tend(process_services.get())
    except OperationalError as error:
        log.warning("batches wait for the database: %s", error)


tend_batches = shared_task(name=TaskName.TEND_BATCHES.value)(_task)
