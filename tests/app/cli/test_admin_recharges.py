"""Recharges and decisions from a terminal, through the real API in this process."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from apiflask import APIFlask
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session, sessionmaker

from app.cli import admin_recharges
from app.cli.main import cli
from app.client.errors import ProblemError
from app.client.exchange import Exchange
from app.client.operators import Operator
from app.tenants.service import create_key
from tests.app.api.conftest import add_tenant, app, prober, settings  # noqa: F401 - fixtures

Run = Callable[..., Result]


@pytest.fixture
def run(
    app: APIFlask,  # noqa: F811 - the fixture
    sessions: sessionmaker[Session],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs `pixelmeter admin ...` as alice, or as whom ``who`` names."""
    with sessions.begin() as session:
        keys = {
            name: create_key(session, tenant_id=None, name=name).minted.key
            for name in ("alice", "bob")
        }
        for name in ("acme", "globex"):
            add_tenant(session, name, tokens=0)

    def run_as(*arguments: str, who: str = "alice") -> Result:
        transport = httpx.WSGITransport(app=app)
        monkeypatch.setattr(
            admin_recharges,
            "open_operator",
            lambda _: Operator(Exchange("http://here", keys[who], transport=transport)),
        )
        return CliRunner().invoke(cli, ["admin", *arguments])

    return run_as


def test_users_are_recharged_by_name(run: Run) -> None:
    done = run("recharge", "acme", "nobody", "50", "--reason", "spring")
    assert done.exit_code == 0, done.output
    assert "completed" in done.output
    assert "row 2: 'nobody': unknown user" in done.output


def test_a_file_is_tried_then_booked_once(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "may.csv"
    file.write_text("user,amount\nacme,5\nglobex,2.5\n")
    tried = run("recharge-bulk", str(file), "--reason", "may", "--dry-run")
    assert tried.exit_code == 0, tried.output
    assert "dry_run" in tried.output
    assert "7.5" in tried.output
    assert file.name in tried.output  # the bar
    booked = run("recharge-bulk", str(file), "--reason", "may")
    again = run("recharge-bulk", str(file), "--reason", "may")
    number = [line for line in booked.output.splitlines() if line.startswith("rch_")]
    assert number
    assert number[0] in again.output


def test_a_large_one_is_approved_by_another_operator(run: Run) -> None:
    asked = run("recharge", "acme", "100001", "--reason", "big")
    number = next(word for word in asked.output.split() if word.startswith("rch_"))
    assert "Another operator has to agree" in asked.output
    assert number in run("approvals").output
    own = run("approve", number)
    assert isinstance(own.exception, ProblemError)
    assert own.exception.code == "self_approval"
    assert "completed" in run("approve", number, who="bob").output
    other = run("recharge", "acme", "100001", "--reason", "big")
    number = next(word for word in other.output.split() if word.startswith("rch_"))
    assert "rejected" in run("reject", number, "--reason", "no", who="bob").output
