"""Postpaid wallets borrow up to their limit, owe what is charged, and pay it."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.amounts import MicroTokens, from_number
from billing.debts import debt, repay, set_terms
from billing.errors import (
    DebtError,
    InsufficientTokensError,
    InvalidAmountError,
    ReplayMismatchError,
    UnknownWalletError,
)
from billing.reconcile import CHECKS
from billing.settlement import settle
from billing.wallets import balance
from tests.billing.till import NOW, Till


def postpaid(till: Till, limit: float) -> None:
    set_terms(till.session, tenant="t", mode="postpaid", limit=from_number(limit), now=NOW)


def findings(till: Till) -> list[str]:
    return [
        f"{code} {row[0]} {row[1]}"
        for code, query in CHECKS.items()
        for row in till.session.execute(text(query))
    ]


def pay(till: Till, tokens: float, key: str = "invoice:1"):
    return repay(
        till.session,
        tenant="t",
        amount=from_number(tokens),
        idem_key=key,
        actor="test",
        now=NOW,
    )


def owes(till: Till) -> tuple[float, float, float]:
    found = debt(till.session, "t")
    return (
        found.owed / 1e6,
        found.reserved / 1e6,
        balance(till.session, "t", now=NOW).available / 1e6,
    )


def test_a_postpaid_wallet_draws_its_own_tokens_first_and_borrows_the_rest(till):
    till.give(4)
    postpaid(till, 10)
    till.hold("a", 7)
    assert owes(till) == (0, 3, 0)
    till.end("a", images=5)
    settle(till.session, job="a", now=NOW)
    assert owes(till) == (1, 0, 0)
    assert balance(till.session, "t", now=NOW).debt == from_number(1)
    assert findings(till) == []


def test_the_limit_is_a_hard_cap_and_counts_what_open_holds_borrowed(till):
    postpaid(till, 10)
    till.hold("a", 6)
    with pytest.raises(InsufficientTokensError) as refused:
        till.hold("b", 5)
    assert refused.value.available == from_number(4)
    till.hold("b", 4)
    till.end("a", images=1)
    settle(till.session, job="a", now=NOW)
    till.hold("c", 5)
    assert owes(till) == (1, 9, 0)
    assert findings(till) == []


def test_the_database_keeps_the_limit_by_itself(till):
    postpaid(till, 10)
    till.hold("a", 6)
    with pytest.raises(IntegrityError):
        till.session.execute(text("UPDATE billing.wallet SET debt = debt_limit + 1"))


def test_a_failed_job_leaves_no_debt(till):
    postpaid(till, 10)
    till.hold("a", 6)
    till.end("a", "failed")
    settle(till.session, job="a", now=NOW)
    assert owes(till) == (0, 0, 0)
    assert findings(till) == []


def test_a_prepaid_wallet_never_borrows_whatever_its_limit(till):
    set_terms(till.session, tenant="t", mode="prepaid", limit=from_number(100), now=NOW)
    till.give(2)
    with pytest.raises(InsufficientTokensError) as refused:
        till.hold("a", 3)
    assert refused.value.available == from_number(2)


def test_tokens_given_later_are_drawn_before_credit(till):
    postpaid(till, 10)
    till.hold("a", 6)
    till.give(5)
    till.hold("b", 6)
    assert owes(till) == (0, 7, 0)
    assert findings(till) == []


def test_what_is_owed_is_paid_once_per_key_and_never_more(till):
    postpaid(till, 10)
    till.hold("a", 6)
    till.end("a", images=6)
    settle(till.session, job="a", now=NOW)
    till.hold("b", 2)
    assert pay(till, 4).created
    assert not pay(till, 4).created
    assert owes(till) == (2, 2, 0)
    with pytest.raises(ReplayMismatchError):
        pay(till, 1)
    with pytest.raises(DebtError) as refused:
        pay(till, 3, key="invoice:2")
    assert refused.value.code == "payment_above_debt"
    assert findings(till) == []


@pytest.mark.parametrize("amount", [0, -1])
def test_a_payment_of_nothing_is_refused(till, amount):
    with pytest.raises(InvalidAmountError):
        repay(
            till.session, tenant="t", amount=MicroTokens(amount), idem_key="x", actor="t", now=NOW
        )


@pytest.mark.parametrize("limit", [-1, 10**15 + 1, 2**63])
def test_a_limit_that_cannot_be_is_refused(till, limit):
    with pytest.raises(InvalidAmountError):
        set_terms(till.session, tenant="t", mode="postpaid", limit=MicroTokens(limit), now=NOW)


def test_a_limit_below_the_debt_is_refused(till):
    postpaid(till, 10)
    till.hold("a", 6)
    for mode, limit in (("postpaid", 5), ("prepaid", 10)):
        with pytest.raises(DebtError) as refused:
            set_terms(till.session, tenant="t", mode=mode, limit=from_number(limit), now=NOW)
        assert refused.value.code == "debt_above_limit"
    assert debt(till.session, "t").limit == from_number(10)


def test_nobody_has_no_debt(till):
    with pytest.raises(UnknownWalletError):
        debt(till.session, "nobody")
