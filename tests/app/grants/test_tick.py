"""What rules give, on a real database with a clock of its own."""

import random
import threading
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, sessionmaker

from app.grants.tick import grant_due
from app.ids import new_id
from app.secret_box import SecretBox
from app.tenants.service import create_tenant
from billing import grants
from billing.amounts import from_number
from billing.grant_rules import NewRule, create, switch
from billing.grant_schedule import RuleKind
from billing.reconcile import check
from billing.wallets import balance
from tests.billing.test_grant_schedule import ZONES, dates_seen_on_a_clock

BOX = SecretBox("the secret of these tests")
NOW = datetime(2026, 3, 1, 9, 17, tzinfo=UTC)


def member(session: Session, name: str, *, group: str = "free", zone: str = "UTC", since=NOW):
    tenant = create_tenant(session, name=name, box=BOX, group=group, zone=zone)
    session.flush()
    session.execute(
        text("UPDATE tenant SET group_since = :since WHERE id = :id"),
        {"since": since, "id": tenant.id},
    )
    return tenant.id


def rule(session: Session, name: str = "free daily", *, tokens: float = 5, now=NOW, **fields):
    values = {"kind": RuleKind.DAILY, "group": "free", **fields}
    wanted = NewRule(name=name, amount=from_number(tokens), **values)
    return create(session, wanted, rule_id=new_id("rule"), maker="test", now=now)


def granted(session: Session) -> list[tuple[str, str, date]]:
    """(tenant, rule, local date) of every grant by rule."""
    rows = session.execute(
        text(
            "SELECT t.name, r.name, g.local_date FROM billing.rule_grant g"
            " JOIN billing.wallet w ON w.id = g.wallet JOIN tenant t ON t.id = w.tenant"
            " JOIN billing.grant_rule r ON r.id = g.rule ORDER BY 1, 2, 3"
        )
    )
    return [tuple(row) for row in rows]


def available(session: Session, tenant: str, now: datetime) -> float:
    return balance(session, tenant, now=now).available / 1_000_000


def test_free_tokens_come_each_night_and_yesterdays_rest_goes(session: Session) -> None:
    rule(session, lifetime_days=1)
    tenant = member(session, "ann")
    assert grant_due(session, now=NOW) == 0  # its first midnight is still to come
    for night in (1, 2, 3):
        now = datetime(2026, 3, 1 + night, 0, 5, tzinfo=UTC)
        assert grant_due(session, now=now) == 1
        assert grant_due(session, now=now) == 0
        assert available(session, tenant, now) == 5
    assert available(session, tenant, datetime(2026, 3, 5, tzinfo=UTC)) == 0


def test_vip_tokens_accumulate_and_carry_their_group(session: Session) -> None:
    rule(session, "vip nightly", tokens=100, group="vip")
    vip, free = member(session, "vip", group="vip"), member(session, "free")
    now = NOW + timedelta(days=3)
    assert grant_due(session, now=now) == 3
    assert (available(session, vip, now), available(session, free, now)) == (300, 0)


def test_midnight_is_the_tenants_own(session: Session) -> None:
    rule(session)
    for zone in ("Asia/Shanghai", "UTC", "America/New_York"):
        member(session, zone, zone=zone)
    counts = []
    for hour in (15, 16, 24, 28, 29):
        grant_due(session, now=datetime(2026, 3, 1, tzinfo=UTC) + timedelta(hours=hour))
        counts.append(len(granted(session)))
    assert counts == [0, 1, 2, 2, 3]  # Shanghai 16:00 UTC, UTC midnight, New York 05:00 UTC


def test_an_outage_is_caught_up_for_seven_days(session: Session) -> None:
    rule(session, lifetime_days=1)
    tenant = member(session, "ann")
    now = datetime(2026, 3, 7, 12, tzinfo=UTC)
    assert grant_due(session, now=now) == 6
    # Each night has its grant, and those of nights that are over have expired as they would have.
    assert available(session, tenant, now) == 5
    grants.expire_due(session, now=now)
    assert available(session, tenant, now) == 5
    later = now + timedelta(days=20)
    assert grant_due(session, now=later) == 7


def test_nothing_is_caught_up_from_before_a_tenant_or_a_rule(session: Session) -> None:
    made = rule(session, now=NOW - timedelta(days=30))
    member(session, "new", since=NOW)
    member(session, "old", since=NOW - timedelta(days=3))
    grant_due(session, now=NOW)
    assert [name for name, _, _ in granted(session)] == ["old"] * 3
    switch(session, made.id, is_enabled=False, now=NOW)
    assert grant_due(session, now=NOW + timedelta(days=2)) == 0
    switch(session, made.id, is_enabled=True, now=NOW + timedelta(days=2))
    assert grant_due(session, now=NOW + timedelta(days=2)) == 0
    assert grant_due(session, now=NOW + timedelta(days=3)) == 2


def test_a_cycle_grants_once_a_month(session: Session) -> None:
    rule(session, "cycle", kind=RuleKind.MONTHLY, month_day=15, group="enterprise", tokens=5000)
    member(session, "big", group="enterprise")
    for day in range(100):
        grant_due(session, now=NOW + timedelta(days=day))
    assert [day for _, _, day in granted(session)] == [date(2026, m, 15) for m in (3, 4, 5)]


def test_moving_to_another_zone_never_doubles_a_date(session: Session) -> None:
    rule(session)
    tenant = member(session, "ann", zone="Asia/Shanghai")
    now = datetime(2026, 3, 1, 16, 5, tzinfo=UTC)
    assert grant_due(session, now=now) == 1  # the 2nd has begun in Shanghai
    for zone in ("America/New_York", "Asia/Shanghai", "Pacific/Kiritimati", "America/New_York"):
        session.execute(text("UPDATE tenant SET zone = :z WHERE id = :t"), {"z": zone, "t": tenant})
        assert grant_due(session, now=now) == 0
    now = datetime(2026, 3, 2, 5, 5, tzinfo=UTC)  # the 2nd begins in New York
    assert grant_due(session, now=now) == 0
    assert grant_due(session, now=now + timedelta(days=1)) == 1


def test_a_zone_that_is_not_known_here_stops_nobody_else(session: Session) -> None:
    rule(session)
    member(session, "ann")
    lost = member(session, "lost")
    session.execute(text("UPDATE tenant SET zone = 'Mars/Olympus' WHERE id = :t"), {"t": lost})
    assert grant_due(session, now=NOW + timedelta(days=1)) == 1
    session.execute(text("UPDATE tenant SET zone = 'UTC' WHERE id = :t"), {"t": lost})
    assert grant_due(session, now=NOW + timedelta(days=1)) == 1


def finish_jobs(session: Session, tenant: str, *, jobs: int, files: int, at: datetime) -> None:
    session.execute(
        text(
            "INSERT INTO job (id, tenant_id, api_key_id, engine, model, params, inputs, priority,"
            " status, metadata, consent, quote, hold_id, estimated_ms, attempt, progress_done,"
            " progress_total, progress_unit, event_sequence, finished_at, output)"
            " SELECT 'job_' || :tenant || :at || n, :tenant, 'key', 'detect', 'm', '{}', '{}',"
            " 'normal', 'succeeded', '{}', false, '{}', 'hold', 1, 1, 0, 0, '', 0, :at,"
            " jsonb_build_object('files', (SELECT jsonb_agg(f) FROM generate_series(1, :files) f))"
            " FROM generate_series(1, :jobs) n"
        ),
        {"tenant": tenant, "jobs": jobs, "files": files, "at": at},
    )


def test_rewards_go_to_who_did_enough_on_the_date_before(session: Session) -> None:
    rule(session, "ten jobs", kind=RuleKind.REWARD, measure="jobs", at_least=10, group=None)
    rule(session, "thirty files", kind=RuleKind.REWARD, measure="outputs", at_least=30, tokens=7)
    busy, lazy = member(session, "busy"), member(session, "lazy")
    finish_jobs(session, busy, jobs=10, files=2, at=datetime(2026, 3, 2, 23, 59, tzinfo=UTC))
    finish_jobs(session, lazy, jobs=9, files=4, at=datetime(2026, 3, 2, 12, tzinfo=UTC))
    finish_jobs(session, lazy, jobs=9, files=1, at=datetime(2026, 3, 3, tzinfo=UTC))
    grant_due(session, now=datetime(2026, 3, 3, 12, tzinfo=UTC))
    day = date(2026, 3, 3)
    assert granted(session) == [("busy", "ten jobs", day), ("lazy", "thirty files", day)]


def test_a_campaign_reaches_a_group_or_a_list_once(session: Session) -> None:
    ann, ben = member(session, "ann"), member(session, "ben", zone="Asia/Shanghai")
    vip = member(session, "vip", group="vip")
    start, end = NOW + timedelta(days=1), NOW + timedelta(days=4)
    campaign = {"kind": RuleKind.CAMPAIGN, "starts_at": start, "expires_at": end}
    rule(session, "spring", tokens=3, **campaign)
    rule(session, "letter", tokens=9, group=None, tenants=[ben, vip], **campaign)
    assert grant_due(session, now=NOW) == 0
    assert grant_due(session, now=start) == 4
    assert grant_due(session, now=start + timedelta(days=2)) == 0
    late = member(session, "late", since=start + timedelta(hours=1))
    assert grant_due(session, now=start + timedelta(days=2)) == 0
    found = [available(session, each, start) for each in (ann, ben, vip, late)]
    assert found == [3, 12, 9, 0]
    assert available(session, ben, end) == 0


def test_a_grant_is_told_to_those_who_listen(session: Session) -> None:
    rule(session, lifetime_days=1)
    tenant = member(session, "ann")
    member(session, "deaf")
    session.execute(
        text(
            "INSERT INTO webhook_endpoint (id, tenant_id, url, events, secret, enabled)"
            " VALUES ('whe_1', :t, 'https://example.com', '[\"grant.issued\"]', 's', true)"
        ),
        {"t": tenant},
    )
    grant_due(session, now=NOW + timedelta(days=1))
    (body,) = session.scalars(text("SELECT body FROM webhook_event")).all()
    assert '"type":"grant.issued"' in body
    assert '"tokens":5' in body


def tick_together(engine: Engine, now: datetime) -> None:
    """Two schedulers at the same moment."""
    failures: list[Exception] = []

    def tick() -> None:
        try:
            with Session(engine) as own, own.begin():
                grant_due(own, now=now)
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)

    schedulers = [threading.Thread(target=tick) for _ in range(2)]
    for thread in schedulers:
        thread.start()
    for thread in schedulers:
        thread.join()
    assert failures == []


def test_two_schedulers_and_outages_across_every_change_of_the_clock(
    sessions: sessionmaker[Session], engine: Engine
) -> None:
    """Exactly one grant per (rule, wallet, local date); two years of it are simulated elsewhere."""
    begin, end = datetime(2026, 9, 28, 9, tzinfo=UTC), datetime(2026, 11, 9, tzinfo=UTC)
    with sessions.begin() as session:
        rule(session, lifetime_days=1, now=begin)
        rule(session, "everybody", tokens=1, group=None, now=begin)
        for zone in ZONES:
            member(session, zone, zone=zone, since=begin)
    rng, now = random.Random(1), begin
    while now < end:
        hours = rng.uniform(24, 6 * 24) if rng.random() < 0.1 else rng.uniform(1, 20)
        now = min(now + timedelta(hours=hours), end)
        tick_together(engine, now)
    with sessions() as session:
        found = granted(session)
        for zone in ZONES:
            expected = dates_seen_on_a_clock(ZoneInfo(zone), begin, end)
            for name in ("free daily", "everybody"):
                assert [day for who, by, day in found if (who, by) == (zone, name)] == expected
        grants.expire_due(session, now=end, limit=10_000)
        session.commit()
    with sessions() as session:
        assert check(session) == []
