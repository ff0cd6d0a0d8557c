"""The database itself refuses what must never happen."""

import pytest
from sqlalchemy import inspect, text
from sqlalchemy.exc import IntegrityError

import billing.grant_tables
import billing.invoice_tables  # noqa: F401 - the same
from billing.settlement import settle
from billing.tables import metadata
from tests.billing.till import NOW

APPEND_ONLY = ["hold_grant", "journal", "transfer", "rate_card_version", "usage_record", "charge"]
NEVER_DELETED = ["wallet", "token_grant", "hold", "approval", "recharge"]


@pytest.fixture
def busy(till):
    """A till with a row in every table."""
    till.give(10)
    till.hold("a", 7)
    till.end("a", images=4)
    settle(till.session, job="a", now=NOW)
    return till


def test_the_tables_are_those_of_the_migration(shared_engine):
    inspector = inspect(shared_engine)
    assert set(inspector.get_table_names(schema="billing")) == {
        table.name for table in metadata.tables.values()
    }
    for table in metadata.tables.values():
        real = {
            column["name"]: (str(column["type"]), column["nullable"])
            for column in inspector.get_columns(table.name, schema="billing")
        }
        ours = {column.name: (str(column.type.compile(shared_engine.dialect)), column.nullable)
                for column in table.columns}  # fmt: skip
        assert ours.keys() == real.keys(), table.name
        assert {name: fact[1] for name, fact in ours.items()} == {
            name: fact[1] for name, fact in real.items()
        }, table.name
        key = inspector.get_pk_constraint(table.name, schema="billing")["constrained_columns"]
        assert set(key) == {column.name for column in table.primary_key}, table.name


@pytest.mark.parametrize("table", [*APPEND_ONLY, *NEVER_DELETED])
@pytest.mark.parametrize("statement", ["DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_no_row_of_money_is_ever_deleted(busy, table, statement):
    with pytest.raises(IntegrityError, match="book a correction instead"):
        busy.session.execute(text(statement.format(f"billing.{table}")))


@pytest.mark.parametrize(
    "change",
    [
        "journal SET actor = 'me'",
        "transfer SET amount = 1",
        "charge SET charged = 0",
        "usage_record SET gpu_us = 0",
        "hold_grant SET amount = 1",
        "rate_card_version SET body = '{}'",
    ],
)
def test_what_was_booked_is_never_changed(busy, change):
    with pytest.raises(IntegrityError, match="book a correction instead"):
        busy.session.execute(text(f"UPDATE billing.{change}"))


@pytest.mark.parametrize(
    "change",
    [
        "hold SET state = 'open', captured = 0, released = 0, closed_at = NULL",
        "hold SET captured = captured",
    ],
)
def test_a_closed_hold_never_changes_again(busy, change):
    with pytest.raises(IntegrityError, match="book a correction instead"):
        busy.session.execute(text(f"UPDATE billing.{change}"))


@pytest.mark.parametrize(
    "change",
    [
        "wallet SET available = -1",
        "wallet SET held = -1",
        "wallet SET debt = 1",
        "token_grant SET remaining = remaining + 1",
        "token_grant SET remaining = -1, spent = granted + 1",
    ],
)
def test_a_balance_that_cannot_be_is_refused(busy, change):
    with pytest.raises(IntegrityError):
        busy.session.execute(text(f"UPDATE billing.{change}"))


@pytest.mark.parametrize(
    "values",
    [
        "(1, 9, 1, 'available', 'held', 0, NULL)",
        "(1, 9, 1, 'available', 'held', -5, NULL)",
        "(1, 9, 1, 'held', 'held', 5, NULL)",
        "(1, 9, 1, 'pocket', 'held', 5, NULL)",
    ],
)
def test_a_transfer_that_makes_no_sense_is_refused(busy, values):
    with pytest.raises(IntegrityError):
        busy.session.execute(text(f"INSERT INTO billing.transfer VALUES {values}"))


def test_two_versions_of_a_card_cannot_begin_at_once(till):
    with pytest.raises(IntegrityError):
        till.session.execute(
            text(
                "INSERT INTO billing.rate_card_version (card, version, effective_from, body)"
                " SELECT card, 99, effective_from, body FROM billing.rate_card_version"
            )
        )
