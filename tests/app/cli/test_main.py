import subprocess
import sys
from importlib import import_module

import pytest
from click.testing import CliRunner

from app.cli.main import COMMANDS, cli


def run(*arguments: str, **environment: str):
    return subprocess.run(
        [sys.executable, "-m", "app.cli.main", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", **environment},
        timeout=60,
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_exists_and_the_help_page_tells_its_line(name):
    command = getattr(import_module(COMMANDS[name].module), name)
    assert command.name == name
    assert command.get_short_help_str(limit=200) == COMMANDS[name].help


def test_the_help_page_names_every_command():
    page = CliRunner().invoke(cli, ["--help"]).output
    for name in COMMANDS:
        assert f"\n  {name} " in page


@pytest.mark.parametrize("name", ["up", "submit", "quote", "jobs", "job", "demo"])
def test_the_help_of_a_command_has_examples_line_by_line(name):
    page = CliRunner().invoke(cli, [name, "--help"]).output
    assert f"\n    pixelmeter {name}" in page.split("Examples:")[1]


def test_an_unknown_command_is_a_usage_error():
    result = CliRunner().invoke(cli, ["fly"])
    assert result.exit_code == 2
    assert "No such command 'fly'" in result.output


def test_a_command_without_a_platform_says_how_to_get_one(tmp_path):
    done = run("balance", PIXELMETER_HOME=str(tmp_path / "home"))
    assert done.returncode == 1
    assert "There is no API key" in done.stderr
    assert "pixelmeter up --detach" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_server_that_is_away_is_a_sentence(tmp_path):
    done = run(
        "balance",
        PIXELMETER_HOME=str(tmp_path / "home"),
        PIXELMETER_URL="http://127.0.0.1:9",
        PIXELMETER_API_KEY="pm_live_x",
    )
    assert done.returncode == 1
    assert "No answer from http://127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_status_and_down_without_a_platform_leave_no_home_behind(tmp_path):
    home = tmp_path / "home"
    status = run("status", PIXELMETER_HOME=str(home))
    assert (status.returncode, "Nothing runs in" in status.stderr) == (1, True)
    down = run("down", PIXELMETER_HOME=str(home))
    assert (down.returncode, "Nothing runs in" in down.stdout) == (0, True)
    assert not home.exists()


def test_a_wrong_setting_is_a_sentence():
    done = run("status", PIXELMETER_MAX_UPLOAD_BYTES="many")
    assert done.returncode == 1
    assert "PIXELMETER_MAX_UPLOAD_BYTES must be a whole number" in done.stderr
