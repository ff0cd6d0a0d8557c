import pytest

from billing.amounts import from_number
from billing.errors import UnknownWalletError
from billing.wallets import balance, entries, open_wallet


def test_a_new_wallet_is_empty(till):
    found = balance(till.session, "t")
    assert (found.available, found.held, found.debt, found.grants) == (0, 0, 0, ())
    assert entries(till.session, "t") == []


def test_opening_a_wallet_twice_keeps_what_is_in_it(till):
    till.give(10)
    open_wallet(till.session, "t")
    assert balance(till.session, "t").available == from_number(10)


def test_grants_are_listed_in_the_order_of_drawing(till):
    never = till.give(1)
    soon = till.give(1, days=10_000)
    first = till.give(1, priority=1)
    assert [grant.id for grant in balance(till.session, "t").grants] == [
        first.id,
        soon.id,
        never.id,
    ]


def test_a_tenant_without_a_wallet_has_no_balance_and_no_statement(till):
    with pytest.raises(UnknownWalletError):
        balance(till.session, "nobody")
    with pytest.raises(UnknownWalletError):
        entries(till.session, "nobody")


def test_a_statement_shows_only_the_own_wallet(till):
    open_wallet(till.session, "u")
    till.give(1)
    till.give(2, tenant="u")
    assert [line.amount for line in entries(till.session, "u")] == [from_number(2)]


def test_a_statement_can_be_read_page_by_page(till):
    for tokens in (1, 2, 3):
        till.give(tokens)
    first = entries(till.session, "t", limit=2)
    rest = entries(till.session, "t", limit=2, after=first[-1].id)
    assert [line.amount // 10**6 for line in (*first, *rest)] == [3, 2, 1]
