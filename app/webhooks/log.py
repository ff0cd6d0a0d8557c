"""The delivery log as its tenant reads it: deliveries with their event's type and attempts."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFoundError
from app.webhooks.models import WebhookAttempt, WebhookDelivery, WebhookEvent
from app.webhooks.subscription import deliveries


@dataclass(frozen=True, slots=True)
class LoggedDelivery:
    """One delivery and everything that was tried for it."""

    delivery: WebhookDelivery
    type: str
    job_id: str | None
    attempts: tuple[WebhookAttempt, ...]  # oldest first


def delivery_log(
    session: Session, *, tenant_id: str, limit: int, after: str | None = None
) -> list[LoggedDelivery]:
    """A page of the log, newest first, with three queries however long it is."""
    return _logged(session, deliveries(session, tenant_id=tenant_id, limit=limit, after=after))


def logged_delivery(session: Session, *, tenant_id: str, delivery_id: str) -> LoggedDelivery:
    """One delivery as it stands in the database now.

    Raises:
        NotFoundError: unknown, or another tenant's.
    """
    delivery = session.get(WebhookDelivery, delivery_id, populate_existing=True)
    if delivery is None or delivery.tenant_id != tenant_id:
        raise NotFoundError("There is no such delivery.", code="delivery_not_found")
    return _logged(session, [delivery])[0]


def _logged(session: Session, found: Sequence[WebhookDelivery]) -> list[LoggedDelivery]:
    events = select(WebhookEvent.id, WebhookEvent.type, WebhookEvent.job_id).where(
        WebhookEvent.id.in_({delivery.event_id for delivery in found})
    )
    by_event = {row.id: row for row in session.execute(events)}
    tried = select(WebhookAttempt).where(
        WebhookAttempt.delivery_id.in_({delivery.id for delivery in found})
    )
    attempts: defaultdict[str, list[WebhookAttempt]] = defaultdict(list)
    for attempt in session.scalars(tried.order_by(WebhookAttempt.number)):
        attempts[attempt.delivery_id].append(attempt)
    return [
        LoggedDelivery(
            delivery=delivery,
            type=by_event[delivery.event_id].type,
            job_id=by_event[delivery.event_id].job_id,
            attempts=tuple(attempts[delivery.id]),
        )
        for delivery in found
    ]
