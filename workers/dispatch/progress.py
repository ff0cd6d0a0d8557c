"""The event ``job.progress``, for those few who asked for it.

The leader looks once a second, so no job is told more often, whoever runs it and in how many
parts. A receiver that is slow hears less: while one event of a job waits to be sent, no other is
booked, and so the final event never stands behind old progress.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.files.links import LinkSigner
from app.jobs.view import job_view
from app.webhooks.events import EventType
from app.webhooks.service import News, record_events

_WANTED = text(
    """
    SELECT job.*, EXISTS (
            SELECT FROM webhook_event e JOIN webhook_delivery d ON d.event_id = e.id
            WHERE e.job_id = job.id AND e.type = 'job.progress' AND d.status = 'pending'
        ) AS is_on_its_way
    FROM job
    WHERE status IN ('starting','processing','finalizing') AND progress_total > 0
        AND (webhook -> 'events' ? 'job.progress'
             OR EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant_id = job.tenant_id
                            AND e.enabled AND e.events ? 'job.progress'))
    """
)


class ProgressNews:
    """Tells how far running jobs are, once for every step.

    What was told is kept in memory: a new leader may repeat one event of a job, no more.
    """

    def __init__(self, links: LinkSigner) -> None:
        self._links = links
        self._told: dict[str, tuple[int, int]] = {}  # by job: attempt, done

    def announce(self, session: Session, *, now: datetime) -> list[str]:
        """Book what is new, in the caller's transaction; returns the ids of the events."""
        jobs = [dict(row) for row in session.execute(_WANTED).mappings()]
        new = [job for job in jobs if self._is_new(job)]
        news = [
            News(
                tenant_id=job["tenant_id"],
                event=EventType.JOB_PROGRESS,
                data=job_view(job, links=self._links, now=now),
                job_id=job["id"],
                job_webhook=job["webhook"],
            )
            for job in new
        ]
        booked = record_events(session, news, at=now) if news else []
        told = {job["id"]: _step(job) for job in new}
        running = {job["id"] for job in jobs}
        self._told = {job: step for job, step in (self._told | told).items() if job in running}
        return booked

    def _is_new(self, job: Mapping[str, Any]) -> bool:
        return not job["is_on_its_way"] and self._told.get(job["id"]) != _step(job)


def _step(job: Mapping[str, Any]) -> tuple[int, int]:
    return job["attempt"], job["progress_done"]
