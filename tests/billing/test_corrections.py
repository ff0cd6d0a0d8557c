"""What was booked wrongly is taken back by reversal, with an approval, once."""

from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from billing.amounts import MicroTokens, from_number
from billing.corrections import rebuild, reverse, revoke, void
from billing.debts import debt
from billing.errors import CorrectionError, InvalidAmountError, ReplayMismatchError
from billing.settlement import settle
from billing.wallets import balance
from tests.billing.test_debts import findings, pay, postpaid
from tests.billing.test_refunds import charged, refund
from tests.billing.till import NOW, Till


def newest(till: Till) -> int:
    return till.session.execute(text("SELECT max(id) FROM billing.journal")).scalar_one()


def undo(till: Till, journal: int, approval: str = "apr_1", days: float = 0):
    return reverse(
        till.session,
        journal_id=journal,
        approval=approval,
        actor="test",
        now=NOW + timedelta(days=days),
    )


def available(till: Till) -> float:
    return balance(till.session, "t", now=NOW).available / 1e6


def test_a_grant_is_reversed_once_and_the_journal_names_who_approved(till):
    till.give(5)
    till.give(7)
    entry = newest(till)
    made = undo(till, entry)
    assert (made.created, made.amount, available(till)) == (True, from_number(7), 5)
    kept = till.session.execute(
        text("SELECT kind, approval, reverses FROM billing.journal WHERE id = :id"),
        {"id": made.journal},
    ).one()
    assert tuple(kept) == ("correction", "apr_1", entry)
    assert undo(till, entry).created is False
    with pytest.raises(CorrectionError) as refused:
        undo(till, entry, approval="apr_2")
    assert refused.value.code == "already_reversed"
    assert findings(till) == []


def test_the_database_refuses_a_second_reversal_by_itself(till):
    till.give(5)
    undo(till, newest(till))
    with pytest.raises(IntegrityError):
        till.session.execute(
            text(
                "INSERT INTO billing.journal (wallet, idem_key, fingerprint, kind, ref,"
                " occurred_at, actor, reverses, available_after) SELECT wallet, 'x', '', kind,"
                " ref, occurred_at, actor, reverses, 0 FROM billing.journal"
                " WHERE reverses IS NOT NULL"
            )
        )


def test_a_refund_a_revocation_a_payment_and_a_correction_are_reversed(till):
    postpaid(till, 20)
    grant = till.give(9)
    charged(till, images=5)
    refund(till, 2)
    undo(till, newest(till))
    assert available(till) == 4
    revoke(till.session, grant_id=grant.id, amount=None, idem_key="r", actor="t", now=NOW)
    undo(till, newest(till))
    assert available(till) == 4
    undo(till, newest(till))  # the correction itself
    assert available(till) == 0
    till.hold("b", 3)
    till.end("b", images=3)
    settle(till.session, job="b", now=NOW)
    pay(till, 3)
    undo(till, newest(till))
    assert debt(till.session, "t").owed == from_number(3)
    assert findings(till) == []


def test_what_is_spent_held_or_expired_cannot_be_taken_back(till):
    till.give(5)
    entry = newest(till)
    till.hold("a", 1)
    with pytest.raises(CorrectionError) as refused:
        undo(till, entry)
    assert refused.value.code == "reversal_impossible"
    till.give(5, days=1)
    with pytest.raises(CorrectionError) as refused:
        undo(till, newest(till), days=2)
    assert refused.value.code == "reversal_impossible"
    assert findings(till) == []


def test_tokens_never_go_back_to_a_grant_whose_time_is_over(till):
    grant = till.give(5, days=1)
    revoke(till.session, grant_id=grant.id, amount=None, idem_key="r", actor="t", now=NOW)
    with pytest.raises(CorrectionError) as refused:
        undo(till, newest(till), days=2)
    assert refused.value.code == "reversal_impossible"


def test_holds_and_settlements_are_not_reversed(till):
    till.give(9)
    till.hold("a", 7)
    with pytest.raises(CorrectionError) as refused:
        undo(till, newest(till))
    assert refused.value.code == "not_reversible"
    with pytest.raises(CorrectionError) as refused:
        undo(till, 10**9)
    assert refused.value.code == "entry_not_found"


def test_a_revocation_takes_what_remains_once_per_key(till):
    grant = till.give(9)
    till.hold("a", 4)

    def take(tokens: float | None, key: str = "r"):
        amount = None if tokens is None else from_number(tokens)
        return revoke(
            till.session, grant_id=grant.id, amount=amount, idem_key=key, actor="t", now=NOW
        )

    assert take(2).amount == from_number(2)
    assert not take(2).created
    with pytest.raises(ReplayMismatchError):
        take(1)
    with pytest.raises(CorrectionError) as refused:
        take(3.5, key="s")
    assert refused.value.code == "revocation_exceeds_grant"
    assert take(None, key="s").amount == from_number(3)
    till.end("a", images=1)
    settle(till.session, job="a", now=NOW)
    assert available(till) == 3
    assert findings(till) == []


def test_a_revocation_that_cannot_be_is_refused(till):
    with pytest.raises(CorrectionError) as refused:
        revoke(till.session, grant_id=99, amount=None, idem_key="r", actor="t", now=NOW)
    assert refused.value.code == "grant_not_found"
    with pytest.raises(InvalidAmountError):
        revoke(till.session, grant_id=1, amount=MicroTokens(0), idem_key="r", actor="t", now=NOW)


def test_columns_that_went_wrong_are_rebuilt_from_the_transfers(till):
    postpaid(till, 20)
    till.give(9)
    charged(till, images=5)
    till.hold("b", 12)
    till.session.execute(text("UPDATE billing.wallet SET available = 77, debt = 3"))
    till.session.execute(
        text("UPDATE billing.token_grant SET spent = spent - 1, revoked = revoked + 1"
             " WHERE kind = 'grant'")
    )  # fmt: skip
    assert findings(till) != []
    made = rebuild(till.session, tenant="t", approval="apr_9", actor="test", now=NOW)
    assert made.created
    assert findings(till) == []
    assert not rebuild(till.session, tenant="t", approval="apr_9", actor="test", now=NOW).created


def test_a_hold_whose_job_left_nothing_is_given_back_once(till):
    till.give(9)
    till.hold("a", 7)
    assert void(till.session, job="a", approval="apr_1", actor="t", now=NOW).amount == from_number(
        7
    )
    assert available(till) == 9
    with pytest.raises(CorrectionError) as refused:
        void(till.session, job="a", approval="apr_1", actor="t", now=NOW)
    assert refused.value.code == "hold_not_open"
    assert findings(till) == []
