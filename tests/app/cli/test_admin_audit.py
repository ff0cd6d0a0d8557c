"""`pixelmeter admin audit` on a real database."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.cli.main import cli
from tests.workers.miniature import SECRET

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path) -> Run:
    environment = {
        "DATABASE_URL": database_url,
        "PIXELMETER_HOME": str(tmp_path),
        "PIXELMETER_SECRET_KEY": SECRET,
    }
    return lambda *arguments: CliRunner().invoke(cli, ["admin", *arguments], env=environment)


def test_what_the_command_line_does_is_in_the_log_and_verifies(run: Run) -> None:
    assert run("tenants", "create", "acme", "--tokens", "5").exit_code == 0
    key = run("keys", "create", "--admin").output.split()[1]
    assert run("keys", "revoke", key).exit_code == 0
    assert run("grant", "acme", "7").exit_code == 0
    shown = run("audit", "list").output
    for action in ("tenant.create", "tokens.grant", "key.create", "key.revoke"):
        assert action in shown
    verified = run("audit", "verify")
    assert verified.exit_code == 0
    assert "6 rows are as they were recorded; 2 journals wait." in verified.output
    head = verified.output.split("head ")[1].strip()
    assert run("audit", "verify", "--kept", head).exit_code == 0
    assert run("audit", "verify", "--kept", "6:nonsense").exit_code == 2


def test_a_broken_row_is_named_and_the_exit_code_says_so(
    run: Run, sessions: sessionmaker[Session]
) -> None:
    for name in ("one", "two", "three"):
        run("tenants", "create", name)
    with sessions.begin() as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        session.execute(text("UPDATE billing.audit_action SET actor = 'nobody' WHERE id = 3"))
    verified = run("audit", "verify")
    assert verified.exit_code == 1
    assert "BROKEN at row 3: action 3: is not what was recorded" in verified.output
