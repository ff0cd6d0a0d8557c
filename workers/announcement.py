"""The event ``job.started``, for those few who asked for it."""

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
    SELECT job.* FROM job WHERE id = :job_id AND (
        webhook -> 'events' ? 'job.started'
        OR EXISTS (SELECT FROM webhook_endpoint e
                   WHERE e.tenant_id = job.tenant_id AND e.enabled AND e.events ? 'job.started'))
    """
)


def announce_start(session: Session, claimed: Claimed, *, links: LinkSigner, now: datetime) -> None:
    """Book the event in the claim's transaction; a second attempt is not announced again."""
    row = session.execute(_WANTED, {"job_id": claimed.job_id}).mappings().one_or_none()
    if row is None:
        return
    job = dict(row)
    record_event(
        session,
        tenant_id=claimed.tenant_id,
        event=EventType.JOB_STARTED,
        data=job_view(job, links=links, now=now),
        at=now,
        job_id=claimed.job_id,
        job_webhook=job["webhook"],
    )
