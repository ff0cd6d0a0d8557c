"""`pixelmeter admin refund`, `correct` and `reconcile` on a real database."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.cli.main import cli
from billing.cards import publish_catalogue
from billing.settlement import settle
from billing.wallets import balance
from tests.billing.till import NOW, Till

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path) -> Run:
    environment = {
        "DATABASE_URL": database_url,
        "PIXELMETER_HOME": str(tmp_path),
        "PIXELMETER_SECRET_KEY": "a secret of the tests, long enough",
    }
    return lambda *arguments: CliRunner().invoke(cli, ["admin", *arguments], env=environment)


@pytest.fixture
def tenant(run: Run, sessions: sessionmaker[Session]) -> str:
    """A tenant with 10 tokens, 4 of them charged for the job "a"."""
    tenant = run("tenants", "create", "acme").output.split()[1]
    with sessions.begin() as session:
        publish_catalogue(session, NOW)
        till = Till(session)
        till.give(10, tenant=tenant)
        till.hold("a", 5, tenant=tenant)
        till.end("a", images=4, tenant=tenant)
        settle(session, job="a", now=NOW)
    return tenant


def test_a_charge_is_refunded_in_parts_and_never_beyond_it(
    run: Run, tenant: str, sessions: sessionmaker[Session]
) -> None:
    half = run("refund", "a", "1.5", "--reason", "grey", "--key", "k")
    assert half.output == "Refunded 1.5 tokens; 1.5 of 4 so far.\n"
    assert run("refund", "a", "1.5", "--reason", "grey", "--key", "k").exit_code == 0
    rest = run("refund", "a", "--reason", "all of it")
    assert rest.output == "Refunded 2.5 tokens; 4 of 4 so far.\n"
    assert run("refund", "a", "1", "--reason", "more").exit_code == 1
    with sessions() as session:
        assert balance(session, tenant).available == 10_000_000


def test_a_correction_waits_for_somebody_else(run: Run, tenant: str) -> None:
    asked = run("correct", "ledger.rebuild", tenant, "--operator", "alice", "--reason", "x")
    assert asked.exit_code == 0
    assert "waits for a second operator" in asked.output
    wrong = run("correct", "ledger.reverse", "one", "--operator", "alice", "--reason", "x")
    assert wrong.exit_code == 2


def test_a_breach_is_shown_and_the_exit_code_says_so(
    run: Run, tenant: str, sessions: sessionmaker[Session]
) -> None:
    assert run("reconcile").output == "The ledger reconciles.\n"
    with sessions.begin() as session:
        session.execute(text("UPDATE billing.wallet SET available = available + 1"))
    found = run("reconcile")
    assert found.exit_code == 1
    assert "wallet_differs: wallet" in found.output
    assert f"frozen: {tenant}" in found.output
