"""Packs and subscriptions: bought once, granted once, the price of a pack locked."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.amounts import MICRO, from_number
from billing.errors import ReplayMismatchError, UnknownOfferError
from billing.pricing_rules import publish_rule
from billing.purchases import buy_pack, price_list_of
from billing.subscriptions import cancel, due, renew, subscribe, subscriptions
from billing.wallets import balance
from tests.billing.till import NOW

DAY = timedelta(days=1)
SHANGHAI = "Asia/Shanghai"


def buy(till, pack="10k", key="k"):
    return buy_pack(till.session, tenant="t", pack=pack, idem_key=key, actor="me", now=NOW)


def start(till, plan, *, on=date(2026, 1, 1), key="k"):
    return subscribe(
        till.session, tenant="t", plan=plan, today=on, idem_key=key, actor="me", now=NOW
    )


def tick(till, held, now, zone="UTC"):
    return [each.tokens // MICRO for each in renew(till.session, held, zone=zone, now=now)]


@pytest.mark.parametrize(
    ("pack", "tokens", "price", "amount"),
    [
        ("10k", 10_000, "0.008", "80.00"),
        ("100k", 100_000, "0.006", "600.00"),
        ("1m", 1_000_000, "0.004", "4000.00"),
    ],
)
def test_a_pack_is_bought_at_the_price_of_the_band_it_reaches(till, pack, tokens, price, amount):
    made = buy(till, pack)
    assert (made.tokens, made.token_price, made.amount) == (
        tokens * MICRO,
        Decimal(price),
        Decimal(amount),
    )
    (grant,) = balance(till.session, "t", now=NOW).grants
    assert (grant.kind, grant.remaining, grant.token_price) == (
        "purchase",
        tokens * MICRO,
        Decimal(price),
    )


def test_the_locked_price_stays_when_the_list_changes(till):
    buy(till)
    dearer = {"currency": "CNY", "bands": [{"price": "9"}]}
    publish_rule(
        till.session, kind="price_list", subject="standard", body=dearer, actor="me", now=NOW + DAY
    )
    again = buy_pack(till.session, tenant="t", pack="10k", idem_key="2", actor="me", now=NOW + DAY)
    prices = [grant.token_price for grant in balance(till.session, "t", now=NOW + DAY).grants]
    assert prices == [Decimal("0.008"), Decimal(9)]
    assert again.amount == Decimal("90000.00")


def test_the_same_key_buys_once_and_not_another_pack(till):
    first, second = buy(till), buy(till)
    assert (first.created, second.created) == (True, False)
    assert first.id == second.id
    assert balance(till.session, "t", now=NOW).available == from_number(10_000)
    log = text("SELECT count(*) FROM billing.audit_action WHERE action = 'pack.buy'")
    assert till.session.scalar(log) == 1
    with pytest.raises(ReplayMismatchError):
        buy(till, "100k")


@pytest.mark.parametrize("pack", ["nothing", "", "10K", "monthly"])
def test_what_nobody_offers_is_not_sold(till, pack):
    with pytest.raises(UnknownOfferError):
        buy(till, pack)


def test_a_tenant_may_be_on_another_price_list(till):
    assert price_list_of(till.session, "t", NOW).name == "standard"
    publish_rule(
        till.session,
        kind="tenant_price_list",
        subject="t",
        body={"price_list": "flat"},
        actor="me",
        now=NOW,
    )
    assert price_list_of(till.session, "t", NOW).name == "flat"


def test_a_cycle_is_granted_once_and_ends_with_its_month(till):
    held = start(till, "monthly")
    assert [tick(till, held, NOW), tick(till, held, NOW + DAY)] == [[1000], []]
    (grant,) = balance(till.session, "t", now=NOW).grants
    assert (grant.kind, grant.expires_at) == ("subscription", datetime(2026, 2, 1, tzinfo=UTC))
    february = NOW + 31 * DAY
    assert tick(till, held, february) == [1000]
    assert balance(till.session, "t", now=february).available == from_number(1000)


def test_a_year_has_one_cycle(till):
    held = start(till, "yearly")
    assert [tick(till, held, NOW + n * DAY) for n in (0, 100, 364, 365)] == [
        [10_000], [], [], [10_000]
    ]  # fmt: skip


def test_an_outage_is_caught_up_within_the_cycle_and_a_missed_cycle_costs_nothing(till):
    held = start(till, "monthly")
    assert tick(till, held, NOW) == [1000]
    # Nobody came in February; in March the running cycle is booked late, with its own end.
    assert tick(till, held, datetime(2026, 3, 20, tzinfo=UTC)) == [1000]
    rows = till.session.execute(
        text("SELECT period_start, amount FROM billing.purchase ORDER BY 1")
    )
    assert [tuple(row) for row in rows] == [
        (date(2026, 1, 1), Decimal("10.00")),
        (date(2026, 3, 1), Decimal("10.00")),
    ]


def test_vip_has_its_fair_use_each_local_day_and_pays_by_the_month(till):
    held = start(till, "vip")
    assert tick(till, held, NOW, SHANGHAI) == [0, 5000]
    assert tick(till, held, datetime(2026, 1, 1, 15, 59, tzinfo=UTC), SHANGHAI) == []
    midnight = datetime(2026, 1, 1, 16, 0, tzinfo=UTC)
    assert tick(till, held, midnight, SHANGHAI) == [5000]
    assert balance(till.session, "t", now=midnight).available == from_number(5000)
    fees = till.session.scalar(text("SELECT sum(amount) FROM billing.purchase"))
    assert fees == Decimal("500.00")


def test_one_look_finds_the_subscriptions_that_have_something_due(till):
    month, vip = start(till, "monthly", key="1"), start(till, "vip", key="2")
    later = start(till, "monthly", key="3", on=date(2026, 3, 1))

    def waiting(now):
        found = due(till.session, [month, vip, later], zones={"t": "UTC"}, now=now)
        return [each.id for each in found]

    assert waiting(NOW) == [month.id, vip.id]
    for each in (month, vip):
        tick(till, each, NOW)
    assert waiting(NOW) == []
    assert waiting(NOW + DAY) == [vip.id]
    assert waiting(NOW + 31 * DAY) == [month.id, vip.id]
    assert due(till.session, [month], zones={}, now=NOW + 31 * DAY) == []


def test_a_canceled_subscription_runs_out(till):
    held = start(till, "monthly")
    tick(till, held, NOW)
    ended = cancel(
        till.session,
        tenant="t",
        subscription_id=held.id,
        today=date(2026, 1, 20),
        actor="me",
        now=NOW,
    )
    assert ended.canceled_on == date(2026, 1, 20)
    assert tick(till, ended, NOW + 31 * DAY) == []
    assert balance(till.session, "t", now=NOW + 25 * DAY).available == from_number(1000)
    with pytest.raises(UnknownOfferError):
        cancel(
            till.session, tenant="u", subscription_id=held.id, today=NOW.date(), actor="", now=NOW
        )


def test_the_same_key_subscribes_once(till):
    assert start(till, "monthly") == start(till, "monthly")
    with pytest.raises(ReplayMismatchError):
        start(till, "vip")
    assert len(subscriptions(till.session, tenant="t")) == 1


@pytest.mark.parametrize("table", ["purchase", "invoice", "tier_notice", "subscription"])
@pytest.mark.parametrize("statement", ["DELETE FROM", "TRUNCATE"])
def test_what_was_sold_is_never_deleted(till, table, statement):
    cascade = " CASCADE" if statement == "TRUNCATE" else ""
    with pytest.raises(IntegrityError, match="refuses"):
        till.session.execute(text(f"{statement} billing.{table}{cascade}"))
