"""Events and deliveries: booked with the change they tell of, claimed, and tried until they end.

The only writer of events, deliveries and attempts. Nothing here commits or talks to a network.
Times are the database's.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from app.ids import new_id
from app.webhooks import statements
from app.webhooks.destinations import Destination, Directory
from app.webhooks.events import FLEETING, EventType
from app.webhooks.models import WebhookEndpoint, WebhookEvent
from app.webhooks.schedule import next_attempt_delay, retry_after
from app.webhooks.snapshot import render

LANE_CAP = 2  # deliveries under way per endpoint: a slow receiver holds no more senders than this
HTTP_GONE = 410
FLEETING_KEPT_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """One attempt that the caller now owns for a while."""

    id: str  # the webhook-id header
    number: int  # of this attempt; 1 is the first
    url: str
    secret: bytes  # sealed by the secret box
    type: str  # of the event
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
class News:
    """An event that is to be booked.

    ``data`` is the snapshot, JSON-ready: what is stored now is what is sent, whenever. Of one job
    there is one event of a type, ``job.progress`` excepted; a second one is ignored.
    """

    tenant_id: str  # whose endpoints hear of it
    event: EventType
    data: Mapping[str, Any]
    job_id: str | None = None
    job_webhook: Mapping[str, Any] | None = None  # as stored in ``job.webhook``


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
    """``record_events`` for one event; its id, or None when nobody wants it or it was booked."""
    news = News(tenant_id, event, data, job_id, job_webhook)
    booked = record_events(session, [news], at=at)
    return booked[0] if booked else None


def record_events(session: Session, news: Sequence[News], *, at: datetime) -> list[str]:
    """Book events and their deliveries in the caller's transaction; wakes the sender on commit.

    The transaction also makes the changes that the events tell of. At most one event for each job.

    Returns:
        The ids of the events that somebody wants and that were not booked before.
    """
    directory = Directory(session, [each.tenant_id for each in news])
    wanted = {
        new_id("evt"): (each, found)
        for each in news
        if (found := list(directory.destinations(each.tenant_id, each.event, each.job_webhook)))
    }
    if not wanted:
        return []
    jobs = [each.job_id for each, _ in wanted.values()]
    last = session.execute(statements.LAST_SEQUENCES, {"job_ids": jobs})
    sequences = {row.job_id: row.sequence + 1 for row in last}
    rows = [
        (event_id, each, sequences.get(each.job_id, 1)) for event_id, (each, _) in wanted.items()
    ]
    booked = set(
        session.scalars(
            statements.INSERT_EVENTS,
            {
                "ids": [event_id for event_id, _, _ in rows],
                "tenant_ids": [each.tenant_id for _, each, _ in rows],
                "job_ids": jobs,
                "types": [each.event.value for _, each, _ in rows],
                "sequences": [sequence for _, _, sequence in rows],
                "bodies": [
                    render(each.event, at=at, sequence=sequence, data=each.data)
                    for _, each, sequence in rows
                ],
            },
        )
    )
    deliveries = [
        (event_id, each.tenant_id, place)
        for event_id, (each, places) in wanted.items()
        if event_id in booked
        for place in places
    ]
    _book(session, deliveries)
    return sorted(booked)


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
    here = Destination(endpoint.url, endpoint.secret, endpoint.id, endpoint.id)
    _book(session, [(event_id, endpoint.tenant_id, here)])
    return event_id


def _book(session: Session, deliveries: Sequence[tuple[str, str, Destination]]) -> None:
    """One row for each (event, tenant, destination)."""
    if not deliveries:
        return
    session.execute(
        statements.INSERT_DELIVERIES,
        {
            "ids": [new_id("dlv") for _ in deliveries],
            "event_ids": [event_id for event_id, _, _ in deliveries],
            "tenant_ids": [tenant_id for _, tenant_id, _ in deliveries],
            "endpoint_ids": [place.endpoint_id for _, _, place in deliveries],
            "lanes": [place.lane for _, _, place in deliveries],
            "urls": [place.url for _, _, place in deliveries],
            "secrets": [place.secret for _, _, place in deliveries],
        },
    )
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
    is ``exhausted`` after the last one; of fleeting events the first is the last. ``jitter`` is a
    random number in [-1, 1].
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
    if delay is None or delivery.type in FLEETING:
        return "exhausted", None
    return "pending", max(delay, retry_after(result.retry_after, now=now)).total_seconds()


def replay(session: Session, *, tenant_id: str, delivery_id: str) -> bool:
    """Send a delivery once more, with the same webhook-id; False if it is not the tenant's."""
    row = session.execute(
        statements.REPLAY, {"id": delivery_id, "tenant_id": tenant_id}
    ).one_or_none()
    session.execute(statements.NOTIFY_DELIVERIES)
    return row is not None


def forget_fleeting(session: Session, *, age_s: float = FLEETING_KEPT_S, limit: int = 5000) -> int:
    """Delete events of passing interest that are older than ``age_s``; returns how many."""
    forgotten = session.scalars(statements.FORGET_FLEETING, {"age_s": age_s, "limit": limit})
    return len(forgotten.all())
