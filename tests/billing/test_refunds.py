"""Refunds: at most the charge, back to where it came from, once per key."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.amounts import MicroTokens, from_number
from billing.debts import debt
from billing.errors import InvalidAmountError, RefundError, ReplayMismatchError
from billing.refunds import give_back, pieces
from billing.settlement import settle
from billing.wallets import balance
from tests.billing.test_debts import findings, pay, postpaid
from tests.billing.till import NOW, Till


def refund(till: Till, tokens: float | None, *, job: str = "a", key: str = "1", days: float = 0):
    return give_back(
        till.session,
        job=job,
        amount=None if tokens is None else from_number(tokens),
        idem_key=key,
        reason="the picture was grey",
        actor="test",
        now=NOW + timedelta(days=days),
    )


def charged(till: Till, images: float = 5, hold: float = 7) -> None:
    till.hold("a", hold)
    till.end("a", images=images)
    settle(till.session, job="a", now=NOW)


def left(till: Till, days: float = 0) -> list[tuple[str, float]]:
    found = balance(till.session, "t", now=NOW + timedelta(days=days))
    return [(grant.kind, grant.remaining / 1e6) for grant in found.grants]


def test_a_refund_leaves_the_grants_as_if_the_job_had_cost_less(till):
    till.give(2, priority=1)
    till.give(9)
    charged(till)
    assert left(till) == [("grant", 6)]
    assert refund(till, 4).refunded == from_number(4)
    assert left(till) == [("grant", 1), ("grant", 9)]
    assert findings(till) == []


def test_refunds_add_up_to_the_charge_and_no_further(till):
    till.give(9)
    charged(till)
    for number, tokens in enumerate((1, 1.5, 2.5)):
        refund(till, tokens, key=str(number))
    assert left(till) == [("grant", 9)]
    for tokens in (0.000001, None):
        with pytest.raises(RefundError) as refused:
            refund(till, tokens, key="more")
        assert refused.value.code == "refund_exceeds_charge"
    assert findings(till) == []


def test_a_refund_of_more_than_the_charge_changes_nothing(till):
    till.give(9)
    charged(till)
    with pytest.raises(RefundError, match="at most 5"):
        refund(till, 5.000001)
    assert left(till) == [("grant", 4)]


def test_the_rest_is_refunded_without_a_number(till):
    till.give(9)
    charged(till)
    refund(till, 1)
    assert refund(till, None, key="rest").amount == from_number(4)


def test_the_same_key_refunds_once(till):
    till.give(9)
    charged(till)
    first, again = refund(till, 2), refund(till, 2)
    assert (first.created, again.created) == (True, False)
    assert (first.seq, first.journal) == (again.seq, again.journal)
    with pytest.raises(ReplayMismatchError):
        refund(till, 3)
    assert left(till) == [("grant", 6)]


def test_tokens_of_an_expired_grant_come_back_as_a_new_one(till):
    till.give(3, days=1)
    till.give(4, priority=200)
    charged(till)
    assert refund(till, None, days=2).amount == from_number(5)
    assert left(till, days=2) == [("refund", 3), ("grant", 4)]
    assert findings(till) == []


def test_a_charge_on_credit_lowers_the_debt_and_what_is_paid_comes_back_as_tokens(till):
    postpaid(till, 10)
    charged(till)
    pay(till, 3)
    assert refund(till, 4).amount == from_number(4)
    assert debt(till.session, "t").owed == 0
    assert left(till) == [("refund", 2)]
    assert findings(till) == []


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refund_of_nothing_is_refused(till, amount):
    till.give(9)
    charged(till)
    with pytest.raises(InvalidAmountError):
        give_back(
            till.session,
            job="a",
            amount=MicroTokens(amount),
            idem_key="x",
            reason="",
            actor="t",
            now=NOW,
        )


def test_a_job_that_was_not_charged_has_nothing_to_refund(till):
    with pytest.raises(RefundError) as refused:
        refund(till, 1, job="nothing")
    assert refused.value.code == "charge_not_found"
    till.give(9)
    charged(till, images=0)
    with pytest.raises(RefundError) as refused:
        refund(till, None)
    assert refused.value.code == "refund_exceeds_charge"


def test_the_database_refuses_an_over_refund_by_itself(till):
    till.give(9)
    charged(till)
    refund(till, 2)
    with pytest.raises(IntegrityError):
        till.session.execute(
            text(
                "INSERT INTO billing.refund SELECT job, 2, wallet, 999, 4000000, 6000000, charged,"
                " reason, actor, refunded_at FROM billing.refund"
            )
        )


@given(
    captured=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    share=st.integers(0, 45),
    more=st.integers(1, 45),
)
def test_pieces_skip_what_was_refunded_and_take_what_is_wanted(captured, share, more):
    total = sum(captured)
    already = min(share, total - 1)
    wanted = min(more, total - already)
    numbered = list(enumerate(captured))
    first = dict(pieces(numbered, already=0, wanted=already)) if already else {}
    second = dict(pieces(numbered, already=already, wanted=wanted))
    assert sum(second.values()) == wanted
    both = {grant: first.get(grant, 0) + second.get(grant, 0) for grant, _ in numbered}
    assert both == {**dict.fromkeys(both, 0), **dict(pieces(numbered, already=0,
                                                            wanted=already + wanted))}  # fmt: skip
