"""Holds are leases: extended by signs of life, given back once, settled late from what is there."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from billing.amounts import from_number
from billing.debts import debt
from billing.holds import place
from billing.leases import GRACE, LEASE, extend, give_back, overdue
from billing.settlement import ChargeStatus, settle
from billing.wallets import balance
from tests.billing.test_debts import findings, postpaid
from tests.billing.till import NOW, Till

MOMENT = timedelta(seconds=1)


def leased(till: Till, job: str, tokens: float) -> None:
    place(
        till.session,
        tenant="t",
        hold_id=f"hold_{job}",
        job=job,
        amount=from_number(tokens),
        expires_at=NOW + LEASE,
        now=NOW,
    )


def test_a_hold_is_overdue_only_after_lease_and_grace(till):
    till.give(9)
    leased(till, "a", 5)
    assert overdue(till.session, now=NOW + LEASE + GRACE) == []
    assert overdue(till.session, now=NOW + LEASE + GRACE + MOMENT) == ["a"]


def test_a_sign_of_life_extends_the_lease_and_most_of_them_write_nothing(till):
    till.give(9)
    leased(till, "a", 5)

    def version() -> str:
        return till.session.execute(text("SELECT ctid::text FROM billing.hold")).scalar_one()

    before = version()
    extend(till.session, jobs=["a"], now=NOW + LEASE / 3)
    assert version() == before
    extend(till.session, jobs=["a"], now=NOW + LEASE)
    assert version() != before
    assert overdue(till.session, now=NOW + LEASE + GRACE + MOMENT) == []


def test_a_job_that_left_usage_is_settled_not_given_back(till):
    till.give(9)
    leased(till, "a", 5)
    till.end("a", images=2)
    assert overdue(till.session, now=NOW + timedelta(days=99)) == []


def test_a_hold_is_given_back_once_to_the_grants_it_came_from(till):
    till.give(3, days=1)
    till.give(9)
    leased(till, "a", 5)
    late = NOW + LEASE + GRACE + MOMENT
    assert give_back(till.session, job="a", now=late)
    assert not give_back(till.session, job="a", now=late)
    assert balance(till.session, "t", now=late).available == from_number(9)  # 3 had expired
    assert balance(till.session, "t", now=late).held == 0
    extend(till.session, jobs=["a"], now=late)
    assert findings(till) == []


def test_borrowed_tokens_of_a_hold_given_back_are_owed_no_more(till):
    postpaid(till, 10)
    leased(till, "a", 5)
    give_back(till.session, job="a", now=NOW)
    assert (debt(till.session, "t").owed, debt(till.session, "t").reserved) == (0, 0)
    assert findings(till) == []


@pytest.mark.parametrize(("there", "charged"), [(9, 4), (3, 3), (0, 0)])
def test_a_late_settlement_takes_once_what_is_available(till, there, charged):
    till.give(9)
    leased(till, "a", 6)
    give_back(till.session, job="a", now=NOW)
    till.hold("b", 9 - there)
    till.end("a", images=4)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.status, found.charged, found.absorbed) == (
        ChargeStatus.LATE,
        from_number(charged),
        from_number(4 - charged),
    )
    assert settle(till.session, job="a", now=NOW) is None
    assert balance(till.session, "t", now=NOW).available == from_number(there - charged)
    assert findings(till) == []


def test_a_late_settlement_never_takes_more_than_was_held(till):
    till.give(99)
    leased(till, "a", 6)
    give_back(till.session, job="a", now=NOW)
    till.end("a", images=50)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.absorbed) == (from_number(6), from_number(44))
    assert findings(till) == []
