"""Each planted fault is found, and nothing else is."""

from datetime import timedelta
from typing import NamedTuple

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.grants import expire_due
from billing.reconcile import check
from billing.settlement import settle
from tests.billing.till import NOW, Till


@pytest.fixture
def books(till_to_commit: Till) -> Session:
    """A wallet with a bit of everything, in order: settled, overrun, failed, open, expired."""
    till = till_to_commit
    till.give(20, priority=1)
    till.give(10)
    till.give(5, days=1)
    for job, outcome, images in (
        ("a", "succeeded", 2),
        ("b", "succeeded", 99),
        ("c", "failed", 0),
        ("d", "canceled", 1),
    ):
        till.hold(job, 6)
        till.end(job, outcome, images=images)
        settle(till.session, job=job, now=NOW)
    expire_due(till.session, now=NOW + timedelta(days=2))
    till.hold("e", 15, now=NOW + timedelta(days=2))
    till.hold("f", 1, now=NOW + timedelta(days=2))
    till.end("f")
    till.session.commit()
    return till.session


def test_books_in_order_have_no_findings(books):
    assert check(books) == []


class Fault(NamedTuple):
    """SQL that breaks one promise, and the finding that must follow."""

    damage: str
    code: str
    subject: str


FAULTS = {
    "a wallet with more than its transfers": Fault(
        """
        UPDATE billing.wallet SET available = available + 1
        """,
        "wallet_differs",
        "wallet",
    ),
    "a wallet holding less than its transfers": Fault(
        """
        UPDATE billing.wallet SET held = held - 1
        """,
        "wallet_differs",
        "wallet",
    ),
    "a debt nobody booked": Fault(
        """
        UPDATE billing.wallet SET debt = 1, debt_limit = 1
        """,
        "wallet_differs",
        "wallet",
    ),
    "a grant made larger": Fault(
        """
        UPDATE billing.token_grant SET granted = granted + 1, remaining = remaining + 1 WHERE
          id = 2
        """,
        "grant_differs",
        "grant 2",
    ),
    "a grant whose parts are not the whole": Fault(
        """
        ALTER TABLE billing.token_grant DROP CONSTRAINT token_grant_check1;
        UPDATE billing.token_grant SET revoked = 1 WHERE id = 2
        """,
        "grant_differs",
        "grant 2",
    ),
    "a grant spent twice": Fault(
        """
        UPDATE billing.token_grant SET remaining = remaining - 1, spent = spent + 1 WHERE id =
          2
        """,
        "grant_differs",
        "grant 2",
    ),
    "an open hold that grew": Fault(
        """
        UPDATE billing.hold SET amount = amount + 1 WHERE job = 'e'
        """,
        "hold_differs",
        "hold hold_e",
    ),
    "a closed hold that reopened": Fault(
        """
        UPDATE billing.hold SET state = 'open', captured = 0, released = 0, closed_at = NULL
          WHERE job = 'c'
        """,
        "hold_differs",
        "hold hold_c",
    ),
    "a pin that points at another grant": Fault(
        """
        UPDATE billing.hold_grant SET amount = amount + 1 WHERE hold = 'hold_f'
        """,
        "hold_pins",
        "hold hold_f",
    ),
    "a pin that is gone": Fault(
        """
        DELETE FROM billing.hold_grant WHERE hold = 'hold_f'
        """,
        "hold_pins",
        "hold hold_f",
    ),
    "a charge that differs from its hold": Fault(
        """
        UPDATE billing.charge SET released = released + 1, held = held + 1 WHERE job = 'a'
        """,
        "charge_differs",
        "job a",
    ),
    "a charge above its quote": Fault(
        """
        UPDATE billing.usage_record SET quoted = 1 WHERE job = 'a'
        """,
        "charge_differs",
        "job a",
    ),
    "a charge that is gone": Fault(
        """
        DELETE FROM billing.charge WHERE job = 'a'
        """,
        "charge_missing",
        "job a",
    ),
    "a charge with other quantities": Fault(
        """
        UPDATE billing.charge SET quantities = '{"images": 3}' WHERE job = 'a'
        """,
        "charge_recomputes",
        "job a",
    ),
    "a charge with another breakdown": Fault(
        """
        UPDATE billing.charge SET lines = '[]' WHERE job = 'a'
        """,
        "charge_recomputes",
        "job a",
    ),
    "a charge for an open hold": Fault(
        """
        INSERT INTO billing.charge SELECT 'f', wallet, 'hold_f', outcome, cached, status, card,
          card_version, quantities, attributes, lines, multipliers, price, held, charged,
          released, lapsed, absorbed, available_after, settled_at FROM billing.charge
          WHERE job = 'a'
        """,
        "charge_differs",
        "job f",
    ),
    "usage that fell off the work list": Fault(
        """
        DELETE FROM billing.settlement_due WHERE job = 'f'
        """,
        "usage_forgotten",
        "job f",
    ),
    "a hold that outlived its job": Fault(
        """
        UPDATE billing.hold SET expires_at = '2001-01-01' WHERE job = 'e'
        """,
        "hold_overdue",
        "hold hold_e",
    ),
    "a transfer without a journal": Fault(
        """
        INSERT INTO billing.transfer SELECT 999, 1, wallet, 'goodwill', 'refunds', 1, NULL
          FROM billing.transfer LIMIT 1
        """,
        "transfer_malformed",
        "transfer 999/1",
    ),
    "a transfer of nothing": Fault(
        """
        ALTER TABLE billing.transfer DROP CONSTRAINT transfer_amount_check;
        INSERT INTO billing.transfer SELECT journal, 99, wallet, 'goodwill', 'refunds', 0,
          NULL FROM billing.transfer ORDER BY journal LIMIT 1
        """,
        "transfer_malformed",
        "transfer 1/99",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_and_no_other(books, fault):
    planted = FAULTS[fault]
    books.execute(text("SET session_replication_role = replica"))  # triggers look away
    for statement in planted.damage.split(";"):
        books.execute(text(statement))
    books.execute(text("SET session_replication_role = origin"))
    books.commit()
    found = check(books)
    assert [finding.code for finding in found] == [planted.code]
    assert found[0].subject.startswith(planted.subject)


def test_checking_reads_only(books):
    check(books)
    with pytest.raises(Exception, match="read-only transaction"):
        books.execute(text("UPDATE billing.wallet SET version = version"))
