from datetime import timedelta

import pytest
from sqlalchemy import text

from billing.amounts import from_number
from billing.errors import (
    InsufficientTokensError,
    InvalidAmountError,
    ReplayMismatchError,
    UnknownWalletError,
)
from billing.holds import place
from billing.wallets import balance
from tests.billing.till import LATER, NOW


def drawn(till, job):
    rows = till.session.execute(
        text("SELECT token_grant, amount FROM billing.hold_grant WHERE hold = :h ORDER BY seq"),
        {"h": f"hold_{job}"},
    )
    return [(row.token_grant, row.amount // 1_000_000) for row in rows]


def test_a_hold_moves_tokens_from_available_to_held(till):
    till.give(10)
    assert till.hold("a", 6).available == from_number(4)
    found = balance(till.session, "t")
    assert (found.available, found.held) == (from_number(4), from_number(6))


def test_tokens_are_drawn_by_priority_then_expiry_then_age(till):
    never = till.give(1)
    later = till.give(1, days=9)
    sooner = till.give(1, days=3)
    older_twin = till.give(1, days=3)
    first = till.give(1, priority=1)
    till.hold("a", 4.5)
    order = [first.id, sooner.id, older_twin.id, later.id]
    assert drawn(till, "a") == [*((grant, 1) for grant in order), (never.id, 0)]


def test_an_expired_grant_is_not_drawn_even_before_the_sweep(till):
    till.give(5, days=1)
    kept = till.give(5)
    till.hold("a", 4, now=NOW + timedelta(days=1))
    assert drawn(till, "a") == [(kept.id, 4)]
    with pytest.raises(InsufficientTokensError) as caught:
        till.hold("b", 2, now=NOW + timedelta(days=1))
    assert (caught.value.needed, caught.value.available) == (from_number(2), from_number(1))


def test_a_wallet_that_is_too_small_says_what_it_has(till):
    till.give(5)
    with pytest.raises(InsufficientTokensError) as caught:
        till.hold("a", 5.000001)
    assert caught.value.available == from_number(5)
    assert "needs 5.000001 tokens and the wallet has 5;" in caught.value.detail
    assert till.hold("b", 5).available == 0


def test_the_same_hold_again_answers_the_same_and_moves_nothing(till):
    till.give(10)
    first = till.hold("a", 6)
    till.hold("b", 1)
    again = till.hold("a", 6)
    assert (again.available, again.replayed) == (first.available, True)
    assert balance(till.session, "t").held == from_number(7)


@pytest.mark.parametrize(
    "changes", [{"amount": from_number(5)}, {"hold_id": "hold_z"}, {"tenant": "u"}]
)
def test_a_job_is_held_for_once_and_for_one_amount(till, changes):
    from billing.wallets import open_wallet

    open_wallet(till.session, "u")
    till.give(10)
    till.hold("a", 6)
    values = {
        "tenant": "t",
        "hold_id": "hold_a",
        "job": "a",
        "amount": from_number(6),
        "expires_at": LATER,
        "now": NOW,
    }
    with pytest.raises(ReplayMismatchError):
        place(till.session, **{**values, **changes})


def test_a_tenant_without_a_wallet_cannot_hold(till):
    with pytest.raises(UnknownWalletError):
        till.hold("a", 1, tenant="nobody")


def test_a_negative_hold_is_refused(till):
    with pytest.raises(InvalidAmountError):
        place(till.session, tenant="t", hold_id="h", job="a", amount=-1, expires_at=LATER, now=NOW)


def test_a_hold_of_nothing_needs_no_tokens(till):
    assert till.hold("a", 0).available == 0
    assert drawn(till, "a") == []


def test_the_databases_clock_is_used_when_none_is_given(till):
    till.give(5)
    placed = place(
        till.session,
        tenant="t",
        hold_id="h",
        job="a",
        amount=from_number(2),
        expires_at=LATER,
    )
    assert placed.available == from_number(3)
