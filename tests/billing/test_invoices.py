"""One invoice for each tenant and month: numbered, exact, never changed."""

import itertools
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier, Thread

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.amounts import MICRO, from_number
from billing.debts import POSTPAID, set_terms
from billing.errors import MonthNotOverError, UnknownInvoiceError
from billing.invoices import (
    Customer,
    find_invoice,
    issue_invoice,
    list_invoices,
    on_credit,
    tier_lines,
)
from billing.purchases import buy_pack, price_list_in_force
from billing.settlement import settle
from billing.statements import balance_at, statement, statement_entries
from billing.subscriptions import renew, subscribe
from billing.wallets import balance, open_wallet
from tests.billing.till import NOW
from tests.billing.worked_examples import MONTHS

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
SOON = datetime(2026, 2, 1, 1, tzinfo=UTC)
MARCH = datetime(2026, 3, 1, 1, tzinfo=UTC)


def customer(tenant="t", zone="UTC", mode="postpaid"):
    return Customer(tenant, f"{tenant} 有限公司", zone, mode)


def issue(till, month=JANUARY, now=SOON, **who):
    return issue_invoice(till.session, customer(**who), month, actor="test", now=now)


def on_account(till, tokens=10_000_000, tenant="t"):
    """Let a tenant owe."""
    limit = from_number(tokens)
    set_terms(till.session, tenant=tenant, mode=POSTPAID, limit=limit, now=NOW)


def use(till, job, tokens, *, at=NOW, tenant="t"):
    """A job of so many tokens, settled then."""
    till.hold(job, tokens, tenant=tenant, now=at)
    till.end(job, images=tokens, quoted=tokens, tenant=tenant)
    settle(till.session, job=job, now=at)


@pytest.mark.parametrize(
    ("tokens", "total"), [(tokens, total) for name, tokens, total in MONTHS if name == "standard"]
)
def test_a_postpaid_month_is_invoiced_by_its_tiers(till, tokens, total):
    on_account(till)
    if tokens:
        use(till, "a", tokens)
    found = issue(till)
    assert str(found.total) == found.body["total"] == total
    assert found.body["billed_tokens"] == tokens


def test_the_lines_of_15_000_tokens_are_10_72_and_30(till):
    lines = tier_lines(price_list_in_force(till.session, "standard", NOW), 15_000 * MICRO)
    assert [(line.description, float(line.amount)) for line in lines] == [
        ("Tokens 1 to 1 000", 10),
        ("Tokens 1 001 to 10 000", 72),
        ("Tokens 10 001 to 100 000", 30),
    ]


def test_what_grants_paid_for_is_told_and_costs_nothing_more(till):
    till.give(1000)
    on_account(till)
    use(till, "a", 700)
    use(till, "b", 500)  # 300 of it from the grant
    found = issue(till)
    assert found.body["billed_tokens"] == 200
    assert found.body["total"] == "2.00"
    assert found.body["usage"] == [
        {
            "rate_card": "flat@1",
            "engine": "detect",
            "model": "builtin@1",
            "jobs": 2,
            "tokens": 1200,
        }
    ]


def test_packs_and_fees_are_lines(till):
    buy_pack(till.session, tenant="t", pack="100k", idem_key="k", actor="me", now=NOW)
    held = subscribe(
        till.session,
        tenant="t",
        plan="monthly",
        today=date(2026, 1, 1),
        idem_key="k",
        actor="me",
        now=NOW,
    )
    renew(till.session, held, zone="UTC", now=NOW)
    found = issue(till, mode="prepaid")
    assert [(line["kind"], line["amount"]) for line in found.body["lines"]] == [
        ("pack", "600.00"),
        ("subscription", "10.00"),
    ]
    assert found.total == Decimal("610.00")


def test_the_total_is_rounded_once_from_exact_lines(till):
    on_account(till)
    use(till, "a", 1001)
    found = issue(till)
    assert [line["amount"] for line in found.body["lines"]] == ["10.00", "0.008"]
    assert found.body["total"] == "10.01"


def test_an_invoice_is_issued_once_and_numbers_have_no_gaps(till):
    open_wallet(till.session, "u")
    first, again = issue(till), issue(till, now=MARCH)
    other = issue(till, tenant="u")
    assert (first.created, again.created, first.number) == (True, False, again.number)
    assert [first.number, other.number] == ["PM-2026-000001", "PM-2026-000002"]
    assert again.body == first.body


def test_a_month_that_goes_on_is_not_invoiced(till):
    with pytest.raises(MonthNotOverError):
        issue(till, now=datetime(2026, 1, 31, 23, 59, tzinfo=UTC))
    with pytest.raises(MonthNotOverError):
        issue(till, zone="America/Havana", now=datetime(2026, 2, 1, 4, 59, tzinfo=UTC))
    assert issue(till, zone="America/Havana", now=datetime(2026, 2, 1, 5, 0, tzinfo=UTC)).created


def test_a_charge_stands_on_the_invoice_of_the_month_it_was_made_in_where_the_tenant_lives(till):
    on_account(till)
    edge = datetime(2026, 1, 31, 16, 0, tzinfo=UTC)  # midnight in Shanghai
    use(till, "a", 1, at=edge - timedelta(microseconds=1))
    use(till, "b", 2, at=edge)
    bodies = [
        issue(till, month, now=MARCH, zone="Asia/Shanghai").body for month in (JANUARY, FEBRUARY)
    ]
    assert [body["billed_tokens"] for body in bodies] == [1, 2]


def test_after_a_change_of_zone_nothing_is_left_out_and_nothing_counts_twice(till):
    on_account(till)
    issue(till, zone="Asia/Shanghai")  # until 31 January 16:00 UTC
    use(till, "a", 5, at=datetime(2026, 1, 31, 20, tzinfo=UTC))  # January still in Havana
    found = issue(till, FEBRUARY, now=MARCH + timedelta(days=1), zone="America/Havana")
    assert found.body["billed_tokens"] == 5
    assert found.body["period"]["start"] == "2026-01-31T16:00:00+00:00"


def test_an_issued_invoice_never_changes(till):
    issue(till)
    with pytest.raises(IntegrityError, match="refuses"):
        till.session.execute(text("UPDATE billing.invoice SET total = 0"))


def test_invoices_are_found_by_their_owner_alone_and_listed_newest_first(till):
    numbers = [issue(till, month, now=MARCH).number for month in (JANUARY, FEBRUARY)]
    listed = list_invoices(till.session, tenant="t", limit=1)
    rest = list_invoices(till.session, tenant="t", limit=9, after=listed[0].number)
    assert [each.number for each in (*listed, *rest)] == numbers[::-1]
    assert find_invoice(till.session, tenant="t", number=numbers[0]).month == JANUARY
    with pytest.raises(UnknownInvoiceError):
        find_invoice(till.session, tenant="u", number=numbers[0])


def test_two_month_ends_at_once_issue_one_invoice(till_to_commit, sessions):
    start, issued = Barrier(2), []

    def run():
        with sessions.begin() as session:
            start.wait()
            issued.append(issue_invoice(session, customer(), JANUARY, actor="test", now=SOON))

    threads = [Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.created for each in issued) == [False, True]
    assert len({each.number for each in issued}) == 1


def test_a_statement_opens_moves_and_closes_as_the_ledger_says(till):
    till.give(100, days=10)
    use(till, "a", 30)
    till.hold("b", 20)
    on_account(till)
    use(till, "c", 75)
    end = NOW + timedelta(days=30)
    found = statement(till.session, "t", start=NOW - timedelta(days=1), end=end, zone="UTC")
    assert (found.opening, found.closing) == (0, from_number(20) - from_number(25))
    assert {each.kind: each.tokens // MICRO for each in found.movements} == {
        "grant": 100,
        "usage": -105,
    }
    assert found.opening + sum(each.tokens for each in found.movements) == found.closing
    now = balance(till.session, "t", now=NOW)
    assert found.closing == now.available + now.held - now.debt
    entries = list(statement_entries(till.session, "t", start=found.start, end=end))
    assert [each.tokens // MICRO for each in entries] == [100, -30, -75]
    assert entries[-1].balance_after == found.closing
    assert balance_at(till.session, "t", end) == found.closing


def test_each_month_opens_where_the_one_before_closed(till):
    till.give(100)
    use(till, "a", 10)
    use(till, "b", 5, at=datetime(2026, 2, 10, tzinfo=UTC))
    bounds = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3)]
    first, second = (
        statement(till.session, "t", start=start, end=end, zone="UTC")
        for start, end in itertools.pairwise(bounds)
    )
    assert first.closing == second.opening == from_number(90)
    assert second.closing == from_number(85)


def test_what_was_charged_on_credit_is_counted_in_its_time_alone(till):
    on_account(till)
    use(till, "a", 7)
    day = timedelta(days=1)
    assert on_credit(till.session, "t", start=NOW, end=NOW + day) == from_number(7)
    assert on_credit(till.session, "t", start=NOW - day, end=NOW) == 0
