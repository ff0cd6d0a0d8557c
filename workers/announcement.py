"""The event ``job.started``, for those few who asked for it."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.files.links import LinkSigner
from app.jobs.record import Claimed
from app.jobs.view import job_view
from app.webhooks.events import EventType
from app.webhooks.service import record_event

_WANTED = text(
    """
    SELECT job.* FROM job WHERE id = ANY(:job_ids) AND (
        webhook -> 'events' ? 'job.started'
        OR EXISTS (SELECT FROM webhook_endpoint e
                   WHERE e.tenant_id = job.tenant_id AND e.enabled AND e.events ? 'job.started'))
    """
)


def announce_starts(
    session: Session, claims: Sequence[Claimed], *, links: LinkSigner, now: datetime
) -> None:
    """Book the events in the claims' transaction; a second attempt is not announced again."""
    rows = session.execute(_WANTED, {"job_ids": [each.job_id for each in claims]}).mappings()
    for row in rows.all():
        job = dict(row)
        record_event(
            session,
            tenant_id=job["tenant_id"],
            event=EventType.JOB_STARTED,
            data=job_view(job, links=links, now=now),
            at=now,
            job_id=job["id"],
            job_webhook=job["webhook"],
        )
