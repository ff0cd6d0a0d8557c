"""A factor is proposed with the command that stores it; nothing is stored."""

import json
import shlex

import click
import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.cli.models_calibrate import report
from billing.device_factors import read_factor
from engines.device_speed import Speed
from engines.metering import cpu_name


def speed(*, median_ms: float = 80.0, noise: float = 0.02) -> Speed:
    return Speed('cuda:0 NVIDIA "L4"', "fake", "Fake", "fp32", 15, median_ms, noise)


def test_this_host_is_measured_and_the_command_is_one_that_ratecards_takes(tmp_path, monkeypatch):
    monkeypatch.setenv("PIXELMETER_HOME", str(tmp_path))
    monkeypatch.delenv("PIXELMETER_RUNNER", raising=False)
    monkeypatch.setattr("engines.runners.host.nvidia_gpus", lambda: ())
    result = CliRunner().invoke(cli, ["models", "calibrate-device", "--rounds", "5"])
    assert result.exit_code == 0, result.output
    assert "reference  1 ms" in result.output
    words = shlex.split(result.output.splitlines()[-1])
    assert words[:5] == ["pixelmeter", "ratecards", "rule", "device_factor", cpu_name()]
    assert 0 < read_factor(json.loads(words[5])) < 100


def test_a_quiet_measurement_is_told_without_a_warning():
    lines = report(speed(), reference_ms=1.0).splitlines()
    assert "factor     0.0125" in lines
    assert not any("noisy" in line for line in lines)
    assert shlex.split(lines[-1])[4:] == ['cuda:0 NVIDIA "L4"', '{"factor": "0.0125"}']


def test_a_noisy_one_asks_for_another():
    assert "This is noisy: stop what else runs" in report(speed(noise=0.3), reference_ms=1.0)


def test_a_factor_that_no_rule_takes_is_refused_with_the_way_out():
    with pytest.raises(click.ClickException, match="--reference-ms"):
        report(speed(median_ms=0.001), reference_ms=1.0)
