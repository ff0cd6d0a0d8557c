"""Gives back tokens held for jobs that nobody will ever settle.

A hold ends with its job. Only a job that vanished, or ended without a usage record, leaves one
open; both are bugs, so each is logged. Jobs that wait or run keep theirs, however long it takes.
"""

import logging
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from app.jobs.queries import unfinished
from billing import leases
from workers.services import Services

log = logging.getLogger(__name__)


def give_back_overdue(services: Services) -> int:
    """Extend the holds of living jobs, give the others back; returns how many it gave back."""
    now = datetime.now(UTC)
    with services.sessions.begin() as session:
        dead = _dead(session, now)
    given = 0
    for job in dead:
        with services.sessions.begin() as session:
            if leases.give_back(session, job=job, now=now):
                log.error("%s: its hold outlived it and was given back", job)
                given += 1
    return given


def _dead(session: Session, now: datetime) -> list[str]:
    overdue = leases.overdue(session, now=now)
    alive = unfinished(session, job_ids=overdue)
    leases.extend(session, jobs=alive)
    return [job for job in overdue if job not in set(alive)]
