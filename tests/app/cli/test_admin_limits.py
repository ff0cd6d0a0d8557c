"""`pixelmeter admin cap`, `freeze` and `unfreeze` on a real database."""

from collections.abc import Callable

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from tests.workers.miniature import SECRET

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path) -> Run:
    environment = {
        "DATABASE_URL": database_url,
        "PIXELMETER_HOME": str(tmp_path),
        "PIXELMETER_SECRET_KEY": SECRET,
        "COLUMNS": "160",
    }
    return lambda *arguments: CliRunner().invoke(cli, ["admin", *arguments], env=environment)


def test_caps_are_set_shown_and_ended(run: Run) -> None:
    run("tenants", "create", "acme", "--zone", "Asia/Shanghai")
    made = run("cap", "acme", "5000", "--window", "day")
    assert made.exit_code == 0, made.output
    assert "5,000" in made.output
    each = run("cap", "acme", "20", "--scope", "end_user", "--of", "*")
    assert "end_user *" in each.output
    number = made.output.splitlines()[1].split()[0]
    assert run("cap", "acme", "--end", number).exit_code == 0
    assert "5,000" not in run("cap", "acme").output
    assert run("cap", "acme", "--end", number).exit_code == 1
    assert run("cap", "acme", "--", "-5").exit_code == 1


def test_a_tenant_is_frozen_and_thawed(run: Run) -> None:
    run("tenants", "create", "acme")
    assert "acme is frozen since" in run("freeze", "acme", "--reason", "why").output
    assert "acme is open." in run("unfreeze", "acme").output
    assert "acme was not frozen." in run("unfreeze", "acme").output
    assert run("freeze", "nobody", "--reason", "why").exit_code == 1
