"""`pixelmeter admin grant-rules` on a real database."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from billing.errors import InvalidGrantRuleError
from tests.workers.miniature import SECRET

Run = Callable[..., Result]


@pytest.fixture
def run(database_url: str, tmp_path: Path) -> Run:
    environment = {
        "DATABASE_URL": database_url,
        "PIXELMETER_HOME": str(tmp_path),
        "PIXELMETER_SECRET_KEY": SECRET,
    }
    arguments = ["admin", "grant-rules"]
    return lambda *more: CliRunner().invoke(cli, [*arguments, *more], env=environment)


def test_rules_are_added_listed_switched_and_run(run: Run) -> None:
    made = run("add", "cycle", "5000.5", "--kind", "monthly", "--month-day", "1")
    assert made.exit_code == 0, made.output
    rule_id = made.output.split()[0]
    assert f"{rule_id}  on   monthly" in run("list").output
    assert "cycle is off." in run("disable", rule_id).output
    assert f"{rule_id}  off  monthly" in run("list").output
    assert "cycle is on." in run("enable", rule_id).output
    assert run("run").output == "Granted 0 times.\n"


def test_a_rule_that_makes_no_sense_is_refused(run: Run) -> None:
    refused = run("add", "cycle", "5", "--kind", "monthly")
    assert isinstance(refused.exception, InvalidGrantRuleError)
    assert "month_day" in refused.exception.detail
