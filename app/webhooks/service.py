"""Events and deliveries: booked with the change they tell of, claimed, and tried until they end.

The only writer of events, deliveries and attempts. Nothing here commits or talks to a network.
Times are the database's.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.ids import new_id
from app.tenants.models import Tenant
from app.webhooks import statements
from app.webhooks.events import EventType, wants
from app.webhooks.models import WebhookDelivery, WebhookEndpoint, WebhookEvent
from app.webhooks.schedule import next_attempt_delay, retry_after
from app.webhooks.snapshot import render
from app.webhooks.subscription import origin

LANE_CAP = 2  # deliveries under way per endpoint: a slow receiver holds no more senders than this
HTTP_GONE = 410


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """One attempt that the caller now owns for a while."""

    id: str  # the webhook-id header
    number: int  # of this attempt; 1 is the first
    url: str
    secret: bytes  # sealed by the secret box
    body: str
    endpoint_id: str | None


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """What became of one POST: a status, or the reason why there is none."""

    duration_ms: int
    status_code: int | None = None
    error: str | None = None
    response_excerpt: str | None = None
    retry_after: str | None = None  # the header as sent

    @property
    def is_delivered(self) -> bool:
        """Only 2xx counts."""
        return self.status_code is not None and 200 <= self.status_code < 300  # noqa: PLR2004 - 2xx

    @property
    def is_gone(self) -> bool:
        """The receiver asks never to be called again."""
        return self.status_code == HTTP_GONE


@dataclass(frozen=True, slots=True)
class _Destination:
    url: str
    secret: bytes
    lane: str
    endpoint_id: str | None


def record_event(
    session: Session,
    *,
    tenant_id: str,
    event: EventType,
    data: Mapping[str, Any],
    at: datetime,
    job_id: str | None = None,
    job_webhook: Mapping[str, Any] | None = None,
) -> str | None:
    """Book an event and its deliveries in the caller's transaction; wakes the sender on commit.

    Args:
        session: its transaction also makes the change that the event tells of.
        tenant_id: whose endpoints hear of it.
        event: what happened.
        data: the snapshot, JSON-ready; what is stored now is what is sent, whenever.
        at: when it happened.
        job_id: the job it is about; one event of a type per job, a second one is ignored.
        job_webhook: the job's own webhook as stored in ``job.webhook``.

    Returns:
        The event's id, or None when nobody wants it or it was booked before.
    """
    wanted = list(_destinations(session, tenant_id, event, job_webhook))
    if not wanted:
        return None
    sequence = session.execute(statements.NEXT_SEQUENCE, {"job_id": job_id}).scalar_one()
    event_id = session.execute(
        insert(WebhookEvent)
        .values(
            id=new_id("evt"),
            tenant_id=tenant_id,
            job_id=job_id,
            type=event.value,
            sequence=sequence,
            body=render(event, at=at, sequence=sequence, data=data),
        )
        .on_conflict_do_nothing()
        .returning(WebhookEvent.id)
    ).scalar_one_or_none()
    if event_id is not None:
        _book(session, tenant_id, event_id, wanted)
    return event_id


def record_test(session: Session, *, endpoint: WebhookEndpoint, at: datetime) -> str:
    """Book a ``test`` event for one address, whatever it subscribes to; returns the event's id."""
    event_id = new_id("evt")
    data = {"endpoint": endpoint.id, "url": endpoint.url}
    session.execute(
        insert(WebhookEvent).values(
            id=event_id,
            tenant_id=endpoint.tenant_id,
            type=EventType.TEST.value,
            sequence=1,
            body=render(EventType.TEST, at=at, sequence=1, data=data),
        )
    )
    here = _Destination(endpoint.url, endpoint.secret, endpoint.id, endpoint.id)
    _book(session, endpoint.tenant_id, event_id, [here])
    return event_id


def _destinations(
    session: Session, tenant_id: str, event: EventType, job_webhook: Mapping[str, Any] | None
) -> Iterator[_Destination]:
    if job_webhook is not None and wants(job_webhook.get("events") or (), event):
        sealed = job_webhook.get("secret")
        own = base64.b64decode(sealed) if sealed else _default_secret(session, tenant_id)
        url = str(job_webhook["url"])
        yield _Destination(url, own, f"{tenant_id} {origin(url)}", None)
    endpoints = session.scalars(
        select(WebhookEndpoint).where(
            WebhookEndpoint.tenant_id == tenant_id, WebhookEndpoint.enabled
        )
    )
    for endpoint in endpoints:
        if wants(endpoint.events, event):
            yield _Destination(endpoint.url, endpoint.secret, endpoint.id, endpoint.id)


def _default_secret(session: Session, tenant_id: str) -> bytes:
    return session.execute(select(Tenant.webhook_secret).where(Tenant.id == tenant_id)).scalar_one()


def _book(session: Session, tenant_id: str, event_id: str, wanted: list[_Destination]) -> None:
    rows = [
        {
            "id": new_id("dlv"),
            "event_id": event_id,
            "tenant_id": tenant_id,
            "endpoint_id": each.endpoint_id,
            "lane": each.lane,
            "url": each.url,
            "secret": each.secret,
            "status": "pending",
            "attempts": 0,
        }
        for each in wanted
    ]
    # An endpoint at the same address as the job's own webhook hears of it once.
    session.execute(insert(WebhookDelivery).values(rows).on_conflict_do_nothing())
    session.execute(statements.NOTIFY_DELIVERIES)


def count_due(session: Session, *, limit: int) -> int:
    """How many deliveries could be claimed now, counted up to ``limit``."""
    parameters = {"limit": limit, "cap": LANE_CAP}
    return len(session.execute(statements.DUE, parameters).all())


def claim_due(session: Session, *, limit: int, claim_s: float) -> list[DueDelivery]:
    """Take due deliveries for ``claim_s`` seconds; commit before sending.

    At most ``LANE_CAP`` deliveries of one endpoint are out at a time, over all senders. A sender
    that dies loses its claim when the time is over, and the attempt is made again.
    """
    # Claims are short and take turns: counting what is out and adding to it is one step.
    session.execute(statements.CLAIM_TURN)
    rows = session.execute(
        statements.CLAIM, {"limit": limit, "cap": LANE_CAP, "claim_s": claim_s}
    ).mappings()
    return [DueDelivery(**row) for row in rows]


def record_attempt(
    session: Session,
    *,
    delivery: DueDelivery,
    result: AttemptResult,
    jitter: float,
    now: datetime,
) -> str:
    """Write down one attempt and what follows from it; returns the delivery's new status.

    2xx: ``delivered``. 410: ``disabled``, with the endpoint and all that waits for it. Else it
    stays ``pending`` for the next attempt of the table (or later, if ``Retry-After`` says so), and
    is ``exhausted`` after the last one. ``jitter`` is a random number in [-1, 1].
    """
    session.execute(
        statements.INSERT_ATTEMPT,
        {
            "id": delivery.id,
            "number": delivery.number,
            "status_code": result.status_code,
            "error": result.error,
            "duration_ms": result.duration_ms,
            "excerpt": result.response_excerpt,
        },
    )
    status, wait_s = _verdict(delivery, result, jitter=jitter, now=now)
    session.execute(
        statements.CLOSE_ATTEMPT,
        {"id": delivery.id, "number": delivery.number, "status": status, "wait_s": wait_s},
    )
    if status == "disabled" and delivery.endpoint_id is not None:
        session.execute(statements.DISABLE_ENDPOINT, {"endpoint_id": delivery.endpoint_id})
        session.execute(statements.DISABLE_PENDING, {"endpoint_id": delivery.endpoint_id})
    return status


def _verdict(
    delivery: DueDelivery, result: AttemptResult, *, jitter: float, now: datetime
) -> tuple[str, float | None]:
    if result.is_delivered:
        return "delivered", None
    if result.is_gone:
        return "disabled", None
    delay = next_attempt_delay(delivery.number, jitter=jitter)
    if delay is None:
        return "exhausted", None
    return "pending", max(delay, retry_after(result.retry_after, now=now)).total_seconds()


def replay(session: Session, *, tenant_id: str, delivery_id: str) -> bool:
    """Send a delivery once more, with the same webhook-id; False if it is not the tenant's."""
    row = session.execute(
        statements.REPLAY, {"id": delivery_id, "tenant_id": tenant_id}
    ).one_or_none()
    session.execute(statements.NOTIFY_DELIVERIES)
    return row is not None


def release_claims(session: Session, *, deliveries: list[DueDelivery]) -> None:
    """Hand back claims that were not used, so that others need not wait for them to run out."""
    session.execute(
        text("UPDATE webhook_delivery SET claimed_until = NULL WHERE id = ANY(:ids)"),
        {"ids": [each.id for each in deliveries]},
    )
