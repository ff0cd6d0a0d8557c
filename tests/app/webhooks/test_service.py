"""Events and deliveries on a real database."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.ids import new_id
from app.outbound import OutboundPolicy, OutboundRefusedError
from app.secret_box import SecretBox
from app.tenants.models import Tenant
from app.webhooks.events import EventType
from app.webhooks.schedule import WAITS_S
from app.webhooks.service import (
    AttemptResult,
    DueDelivery,
    claim_due,
    count_due,
    record_attempt,
    record_event,
    replay,
)
from app.webhooks.signing import new_secret
from app.webhooks.subscription import (
    create_endpoint,
    delete_endpoint,
    deliveries,
    endpoints,
    sealed_webhook_secret,
)

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOX = SecretBox("a secret of the tests")
POLICY = OutboundPolicy(allow_hosts=frozenset({"localhost"}))
OK = AttemptResult(duration_ms=12, status_code=204)
BROKEN = AttemptResult(duration_ms=12, status_code=500, response_excerpt="oops")

Book = Callable[..., str | None]


@pytest.fixture
def tenant(session: Session) -> str:
    tenant = Tenant(
        id=new_id("ten"), name="hooks", webhook_secret=BOX.encrypt("whsec_of_the_tenant")
    )
    session.add(tenant)
    session.commit()
    return tenant.id


@pytest.fixture
def book(session: Session, tenant: str) -> Book:
    def book(
        *,
        url: str = "https://hooks.example.com/a",
        event: EventType = EventType.JOB_SUCCEEDED,
        job_id: str | None = None,
        **webhook: Any,
    ) -> str | None:
        event_id = record_event(
            session,
            tenant_id=tenant,
            event=event,
            data={"id": "job_1", "status": "succeeded"},
            at=NOW,
            job_id=job_id or new_id("job"),
            job_webhook={"url": url, "events": [], "secret": None, **webhook},
        )
        session.commit()
        return event_id

    return book


def claim(session: Session, limit: int = 10, claim_s: float = 60) -> list[DueDelivery]:
    claimed = claim_due(session, limit=limit, claim_s=claim_s)
    session.commit()
    return claimed


def close(session: Session, delivery: DueDelivery, result: AttemptResult) -> str:
    status = record_attempt(session, delivery=delivery, result=result, jitter=0.0, now=NOW)
    session.commit()
    return status


def column(session: Session, delivery: str, name: str) -> Any:
    query = text(f"SELECT {name} FROM webhook_delivery WHERE id = :id")
    return session.execute(query, {"id": delivery}).scalar_one()


def wait_of(session: Session, delivery: str) -> float:
    query = text(
        "SELECT extract(epoch FROM next_attempt_at - clock_timestamp())"
        " FROM webhook_delivery WHERE id = :id"
    )
    return float(session.execute(query, {"id": delivery}).scalar_one())


def test_a_job_without_listeners_books_nothing(session: Session, tenant: str) -> None:
    booked = record_event(
        session, tenant_id=tenant, event=EventType.JOB_FAILED, data={}, at=NOW, job_id="job_1"
    )
    assert booked is None
    assert session.execute(text("SELECT count(*) FROM webhook_event")).scalar_one() == 0


def test_the_snapshot_is_what_is_sent(session: Session, book: Book) -> None:
    book()
    (delivery,) = claim(session)
    assert json.loads(delivery.body) == {
        "type": "job.succeeded",
        "timestamp": "2026-11-22T12:00:00.000Z",
        "sequence": 1,
        "data": {"id": "job_1", "status": "succeeded"},
    }
    assert (delivery.number, delivery.url) == (1, "https://hooks.example.com/a")
    assert BOX.decrypt(delivery.secret) == "whsec_of_the_tenant"


def test_a_jobs_own_secret_goes_before_the_tenants(session: Session, book: Book) -> None:
    secret = new_secret()
    book(secret=sealed_webhook_secret(BOX, secret))
    (delivery,) = claim(session)
    assert BOX.decrypt(delivery.secret) == secret
    assert sealed_webhook_secret(BOX, None) is None
    assert base64.b64decode(sealed_webhook_secret(BOX, secret) or "")


def test_the_same_event_of_a_job_is_booked_once(session: Session, book: Book) -> None:
    assert book(job_id="job_1") is not None
    assert book(job_id="job_1") is None
    assert len(claim(session)) == 1


def test_events_of_one_job_are_numbered(session: Session, book: Book) -> None:
    book(job_id="job_1", event=EventType.JOB_STARTED, events=["job.started", "job.succeeded"])
    book(job_id="job_1", events=["job.started", "job.succeeded"])
    bodies = [json.loads(each.body) for each in claim(session)]
    assert sorted((body["sequence"], body["type"]) for body in bodies) == [
        (1, "job.started"),
        (2, "job.succeeded"),
    ]


def test_the_start_is_told_only_to_those_who_ask(session: Session, book: Book) -> None:
    assert book(event=EventType.JOB_STARTED) is None
    assert book(event=EventType.JOB_FAILED, events=["job.succeeded"]) is None


def test_endpoints_of_the_tenant_hear_too_and_strangers_do_not(
    session: Session, tenant: str, book: Book
) -> None:
    other = Tenant(id=new_id("ten"), name="other", webhook_secret=b"")
    session.add(other)
    session.flush()

    def add(owner: str, path: str, events: list[str]) -> str:
        url = f"https://a.example.com/{path}"
        endpoint, _ = create_endpoint(
            session, box=BOX, policy=POLICY, tenant_id=owner, url=url, events=events
        )
        return endpoint.id

    add(tenant, "all", [])
    add(tenant, "failures", ["job.failed"])
    disabled = add(tenant, "off", [])
    session.execute(
        text("UPDATE webhook_endpoint SET enabled = false WHERE id = :id"), {"id": disabled}
    )
    add(other.id, "stranger", [])
    book(url="https://a.example.com/own")
    assert {each.url for each in claim(session)} == {
        "https://a.example.com/own",
        "https://a.example.com/all",
    }


def test_one_address_hears_of_an_event_once(session: Session, tenant: str, book: Book) -> None:
    url = "https://a.example.com/same"
    create_endpoint(session, box=BOX, policy=POLICY, tenant_id=tenant, url=url, events=[])
    book(url=url)
    assert len(claim(session)) == 1


def test_a_large_snapshot_is_shortened_and_says_so(session: Session, tenant: str) -> None:
    data = {
        "id": "job_1",
        "metadata": {"a": "b"},
        "output": {"files": [1], "data": {"predictions": ["x" * 100] * 1000}},
    }
    record_event(
        session,
        tenant_id=tenant,
        event=EventType.JOB_SUCCEEDED,
        data=data,
        at=NOW,
        job_id="job_1",
        job_webhook={"url": "https://a.example.com/", "events": [], "secret": None},
    )
    (delivery,) = claim(session)
    assert len(delivery.body) < 20_000
    sent = json.loads(delivery.body)["data"]
    assert sent["output"]["files"] == [1]
    assert "links.self" in sent["output"]["data"]["omitted"]
    assert sent["metadata"] == {"a": "b"}


def test_a_claimed_delivery_is_not_claimed_again_until_its_sender_is_late(
    session: Session, book: Book
) -> None:
    book()
    (first,) = claim(session, claim_s=60)
    assert claim(session) == []
    assert count_due(session, limit=8) == 0
    session.execute(text("UPDATE webhook_delivery SET claimed_until = clock_timestamp()"))
    session.commit()
    assert count_due(session, limit=8) == 1
    (second,) = claim(session)
    assert (first.id, first.number) == (second.id, second.number)


def test_a_delivery_ends_with_2xx(session: Session, book: Book) -> None:
    book()
    (delivery,) = claim(session)
    assert close(session, delivery, OK) == "delivered"
    assert column(session, delivery.id, "delivered_at") is not None
    assert claim(session) == []


@pytest.mark.parametrize("status", [301, 302, 400, 404, 429, 500, 503])
def test_anything_else_is_tried_again(session: Session, book: Book, status: int) -> None:
    book()
    (delivery,) = claim(session)
    result = AttemptResult(duration_ms=1, status_code=status)
    assert close(session, delivery, result) == "pending"
    assert wait_of(session, delivery.id) == pytest.approx(5, abs=1)


def test_every_attempt_keeps_the_id_and_the_last_one_exhausts(session: Session, book: Book) -> None:
    book()
    ids = set()
    for number in range(1, len(WAITS_S) + 1):
        (delivery,) = claim(session)
        ids.add(delivery.id)
        assert delivery.number == number
        status = close(session, delivery, BROKEN)
        session.execute(
            text(
                "UPDATE webhook_delivery SET next_attempt_at = clock_timestamp()"
                " WHERE next_attempt_at IS NOT NULL"
            )
        )
    assert status == "exhausted"
    assert len(ids) == 1
    assert claim(session) == []
    rows = session.execute(
        text("SELECT number, status_code, response_excerpt FROM webhook_attempt")
    )
    assert sorted(rows) == [(number, 500, "oops") for number in range(1, len(WAITS_S) + 1)]


def test_retry_after_lengthens_a_wait_and_never_shortens_it(session: Session, book: Book) -> None:
    book()
    (delivery,) = claim(session)
    asked = AttemptResult(duration_ms=1, status_code=429, retry_after="600")
    close(session, delivery, asked)
    assert wait_of(session, delivery.id) == pytest.approx(600, abs=2)


def test_a_receiver_that_is_gone_is_never_called_again(
    session: Session, tenant: str, book: Book
) -> None:
    url = "https://gone.example.com/"
    create_endpoint(session, box=BOX, policy=POLICY, tenant_id=tenant, url=url, events=[])
    for _ in range(3):
        book(url="https://fine.example.com/")
    gone = next(each for each in claim(session) if each.endpoint_id is not None)
    assert close(session, gone, AttemptResult(duration_ms=1, status_code=410)) == "disabled"
    (endpoint,) = endpoints(session, tenant_id=tenant)
    assert not endpoint.enabled
    statuses = session.execute(
        text("SELECT DISTINCT status FROM webhook_delivery WHERE endpoint_id IS NOT NULL")
    )
    assert statuses.scalars().all() == ["disabled"]


def test_a_late_sender_changes_nothing(session: Session, book: Book) -> None:
    book()
    (late,) = claim(session)
    session.execute(text("UPDATE webhook_delivery SET claimed_until = clock_timestamp()"))
    (other,) = claim(session)
    close(session, other, OK)
    close(session, late, BROKEN)
    assert column(session, late.id, "status") == "delivered"
    assert column(session, late.id, "attempts") == 1


def test_two_deliveries_of_one_endpoint_are_out_at_a_time(
    sessions: sessionmaker[Session], session: Session, book: Book
) -> None:
    for number in range(5):
        book(url=f"https://slow.example.com/{number}")
    book(url="https://fast.example.com/")
    with sessions.begin() as first, sessions.begin() as second:
        first_claim = claim_due(first, limit=10, claim_s=60)
        first.commit()
        second_claim = claim_due(second, limit=10, claim_s=60)
    assert sorted(each.url for each in first_claim) == [
        "https://fast.example.com/",
        "https://slow.example.com/0",
        "https://slow.example.com/1",
    ]
    assert second_claim == []


def test_a_dead_endpoint_with_a_long_queue_delays_nobody(session: Session, book: Book) -> None:
    for number in range(30):
        book(url=f"https://dead.example.com/{number}")
    book(url="https://alive.example.com/")
    assert "https://alive.example.com/" in {each.url for each in claim(session, limit=3)}


def test_a_replay_sends_again_with_the_same_id(session: Session, tenant: str, book: Book) -> None:
    book()
    (delivery,) = claim(session)
    close(session, delivery, OK)
    assert not replay(session, tenant_id="ten_other", delivery_id=delivery.id)
    assert replay(session, tenant_id=tenant, delivery_id=delivery.id)
    (again,) = claim(session)
    assert (again.id, again.number, again.body) == (delivery.id, 2, delivery.body)


def test_endpoints_are_listed_and_deleted_by_their_tenant(session: Session, tenant: str) -> None:
    endpoint, secret = create_endpoint(
        session,
        box=BOX,
        policy=POLICY,
        tenant_id=tenant,
        url="https://a.example.com/",
        events=["job.failed"],
    )
    assert BOX.decrypt(endpoint.secret) == secret
    assert [each.id for each in endpoints(session, tenant_id=tenant)] == [endpoint.id]
    delete_endpoint(session, tenant_id=tenant, endpoint_id=endpoint.id)
    assert endpoints(session, tenant_id=tenant) == []


def test_an_endpoint_in_a_private_network_needs_the_operator(session: Session, tenant: str) -> None:
    with pytest.raises(OutboundRefusedError):
        create_endpoint(
            session,
            box=BOX,
            policy=OutboundPolicy(),
            tenant_id=tenant,
            url="http://localhost:9000/",
            events=[],
        )


def test_the_delivery_log_is_paged_newest_first(session: Session, tenant: str, book: Book) -> None:
    for _ in range(3):
        book()
    page = deliveries(session, tenant_id=tenant, limit=2)
    rest = deliveries(session, tenant_id=tenant, limit=2, after=page[-1].id)
    ids = [each.id for each in (*page, *rest)]
    assert len(ids) == 3
    assert ids == sorted(ids, reverse=True)
    assert deliveries(session, tenant_id="ten_other", limit=2) == []


def test_the_wait_is_counted_by_the_databases_clock(session: Session, book: Book) -> None:
    book()
    (delivery,) = claim(session)
    record_attempt(
        session, delivery=delivery, result=BROKEN, jitter=0.0, now=NOW + timedelta(days=365)
    )
    assert wait_of(session, delivery.id) == pytest.approx(5, abs=1)
