"""What is due by the calendar of each tenant, in five zones, after outages, twice at once."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.errors import InvalidRequestError
from app.invoicing.months import close_due_months, month_bounds, months_due, parse_month
from app.invoicing.nearing import tell_near_tier, tell_near_tiers
from app.invoicing.renewals import renew_due
from app.outbound import OutboundPolicy
from app.secret_box import SecretBox
from app.tenants.changes import change_tenant
from app.tenants.service import create_tenant
from app.webhooks.subscription import create_endpoint
from billing.cards import publish_catalogue
from billing.settlement import settle
from billing.subscriptions import subscribe
from tests.billing.till import Till

BOX = SecretBox("the secret of these tests")
START = datetime(2026, 1, 10, tzinfo=UTC)
ZONES = (
    *("Europe/Paris", "America/New_York", "America/Havana"),
    *("Australia/Lord_Howe", "Asia/Shanghai"),
)


@pytest.fixture
def tenants(sessions: sessionmaker[Session]) -> dict[str, str]:
    """A postpaid tenant in each zone, since 10 January."""
    found = {}
    with sessions.begin() as session:
        publish_catalogue(session, START)
        for zone in ZONES:
            tenant = create_tenant(session, name=zone, box=BOX, zone=zone)
            change_tenant(
                session, tenant.id, mode="postpaid", debt_limit=100_000, actor="me", now=START
            )
            found[zone] = tenant.id
        session.execute(text("UPDATE tenant SET created_at = :at"), {"at": START})
    return found


def charge(sessions, tenant_id, job, tokens, at):
    with sessions.begin() as session:
        till = Till(session)
        till.hold(job, tokens, tenant=tenant_id, now=at)
        till.end(job, images=tokens, quoted=tokens, tenant=tenant_id)
        settle(session, job=job, now=at)


def test_each_tenant_has_one_invoice_a_month_however_often_and_late_the_tick_comes(
    sessions, tenants
):
    issued = []
    now = START
    while now < datetime(2026, 12, 6, tzinfo=UTC):
        # A tick every 47 hours, with an outage of six weeks over spring.
        if not datetime(2026, 3, 20, tzinfo=UTC) < now < datetime(2026, 5, 2, tzinfo=UTC):
            for _ in range(2):
                issued += close_due_months(sessions, actor="test", now=now)
        now += timedelta(hours=47)
    months = {}
    for each in issued:
        months.setdefault(each.tenant, []).append(each.month)
    expected = [date(2026, month, 1) for month in range(1, 12)]
    assert months == dict.fromkeys(tenants.values(), expected)
    with sessions() as session:
        numbers = session.scalars(text("SELECT seq FROM billing.invoice ORDER BY seq")).all()
    assert numbers == list(range(1, 56))


def test_a_month_is_due_a_moment_after_its_end_where_the_tenant_lives():
    end = datetime(2026, 2, 1, tzinfo=ZoneInfo("Asia/Shanghai"))
    asked = {"created_at": START, "last_month": None, "zone": "Asia/Shanghai"}
    assert list(months_due(**asked, now=end)) == []
    assert list(months_due(**asked, now=end + timedelta(minutes=16))) == [date(2026, 1, 1)]


def test_no_more_than_a_year_is_made_up_for():
    now = datetime(2026, 6, 15, tzinfo=UTC)
    long_ago = datetime(2019, 1, 1, tzinfo=UTC)
    due = list(months_due(created_at=long_ago, last_month=None, zone="UTC", now=now))
    assert (due[0], due[-1], len(due)) == (date(2025, 6, 1), date(2026, 5, 1), 12)


@pytest.mark.parametrize("zone", ZONES)
def test_months_follow_each_other_without_a_gap(zone):
    for month in range(1, 12):
        _, end = month_bounds(date(2026, month, 1), zone)
        start, _ = month_bounds(date(2026, month + 1, 1), zone)
        assert start == end


@pytest.mark.parametrize(
    "text_",
    ["2026-13", "2026-00", "2026", "october", "2026-10-01", "", "0001-01", "9999-12", "2026-1"],
)
def test_what_is_no_month_is_refused(text_):
    with pytest.raises(InvalidRequestError):
        parse_month(text_)


def test_a_near_tier_is_told_once_a_month_and_band(sessions, tenants):
    tenant_id = tenants["Asia/Shanghai"]
    with sessions.begin() as session:
        create_endpoint(
            session, tenant_id=tenant_id, url="https://93.184.216.34/hook", events=["tier.near"],
            box=BOX, policy=OutboundPolicy(allow_hosts=frozenset()),
        )  # fmt: skip
    told = []
    for job, tokens, day in (
        ("a", 10, 11), ("b", 500, 12), ("c", 4_489, 13), ("d", 1, 14), ("e", 4_000, 15),
        ("f", 1_500, 16),
    ):  # fmt: skip
        at = datetime(2026, 1, day, tzinfo=UTC)
        charge(sessions, tenant_id, job, tokens, at)
        with sessions.begin() as session:
            told.append(tell_near_tier(session, tenant_id, zone="Asia/Shanghai", now=at))
    assert told == [True, False, False, True, False, False]
    with sessions() as session:
        bodies = session.scalars(text("SELECT body FROM webhook_event ORDER BY created_at")).all()
    assert "990 more tokens reach 0.008" in bodies[0]
    assert "5 000 more tokens reach 0.006" in bodies[1]
    assert tell_near_tiers(sessions, since=START, now=datetime(2026, 1, 16, tzinfo=UTC)) == 0
    charge(sessions, tenant_id, "g", 1, datetime(2026, 2, 5, tzinfo=UTC))
    february = datetime(2026, 2, 5, tzinfo=UTC)
    assert tell_near_tiers(sessions, since=START, now=february) == 1


def test_subscriptions_renew_by_the_tick_once_a_cycle(sessions, tenants):
    tenant_id = tenants["Europe/Paris"]
    with sessions.begin() as session:
        subscribe(
            session, tenant=tenant_id, plan="monthly", today=date(2026, 1, 31), idem_key="k",
            actor="me", now=START,
        )  # fmt: skip
    booked = [
        renew_due(sessions, now=datetime(2026, 1, 30, 22, 59, tzinfo=UTC)),
        renew_due(sessions, now=datetime(2026, 1, 30, 23, 0, tzinfo=UTC)),
        renew_due(sessions, now=datetime(2026, 2, 27, 22, 59, tzinfo=UTC)),
        renew_due(sessions, now=datetime(2026, 2, 27, 23, 0, tzinfo=UTC)),
        renew_due(sessions, now=datetime(2026, 2, 28, 12, 0, tzinfo=UTC)),
    ]
    assert booked == [0, 1, 0, 1, 0]
