"""A role that owns nothing may run the product and change no record."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from billing.cards import publish_catalogue
from billing.settlement import settle
from tests.billing.till import NOW, Till


@pytest.fixture
def role(till_to_commit: Till, database_url: str) -> Iterator[psycopg.Connection]:
    """A connection as the application's role, on books with a row in each table."""
    name = f"app{uuid.uuid4().hex[:8]}"
    till = till_to_commit
    till.give(10)
    till.hold("a", 5)
    till.end("a", images=2)
    settle(till.session, job="a", now=NOW)
    till.session.connection().exec_driver_sql(f"CREATE ROLE {name}")
    till.session.connection().exec_driver_sql(f"SELECT billing.admit('{name}')")
    till.session.commit()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"SET ROLE {name}")
        yield connection
        connection.execute("RESET ROLE")
        connection.execute(f"DROP OWNED BY {name}")
        connection.execute(f"DROP ROLE {name}")


def test_the_role_gives_holds_and_settles(till_to_commit, role):
    till = till_to_commit
    user = role.execute("SELECT current_user").fetchone()[0]
    session = till.session
    session.connection().exec_driver_sql(f"SET ROLE {user}")
    publish_catalogue(session, NOW)
    till.give(3)
    till.hold("b", 5)
    till.end("b", images=1)
    assert settle(session, job="b", now=NOW) is not None
    session.connection().exec_driver_sql("RESET ROLE")
    session.commit()


@pytest.mark.parametrize(
    "table",
    [
        *("journal", "transfer", "hold_grant", "charge", "refund", "usage_record"),
        *("rate_card_version", "audit_action", "audit_entry"),
    ],
)
def test_the_role_cannot_change_or_delete_what_was_booked(role, table):
    column = role.execute(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'billing' AND table_name = %s AND is_identity = 'NO' LIMIT 1",
        (table,),
    ).fetchone()[0]
    for statement in (
        f"UPDATE billing.{table} SET {column} = {column}",
        f"DELETE FROM billing.{table}",
        f"TRUNCATE billing.{table}",
    ):
        with pytest.raises(errors.InsufficientPrivilege):
            role.execute(statement)


@pytest.mark.parametrize("table", ["wallet", "token_grant", "hold"])
def test_the_role_cannot_delete_what_holds_tokens(role, table):
    for statement in (f"DELETE FROM billing.{table}", f"TRUNCATE billing.{table}"):
        with pytest.raises(errors.InsufficientPrivilege):
            role.execute(statement)


def test_the_role_cannot_look_away_from_the_triggers(role):
    with pytest.raises(errors.InsufficientPrivilege):
        role.execute("SET session_replication_role = replica")
    with pytest.raises(errors.InsufficientPrivilege):
        role.execute("ALTER TABLE billing.journal DISABLE TRIGGER append_only")
