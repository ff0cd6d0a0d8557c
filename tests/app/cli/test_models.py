"""The registry from the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from tests.networks import write_one_box


@pytest.fixture
def pixelmeter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIXELMETER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIXELMETER_MODEL_MIRROR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *words: CliRunner().invoke(cli, ["models", *words])


def test_versions_are_added_listed_switched_and_switched_back(pixelmeter, tmp_path):
    first = write_one_box(tmp_path / "a.onnx")
    second = write_one_box(tmp_path / "b.onnx", class_id=2)
    assert pixelmeter("add", "yolov8s", str(first), "--licence", "MIT").exit_code == 0
    kept = pixelmeter("add", "yolov8s", str(second), "--licence", "MIT", "--no-activate")
    assert "Registered yolov8s@2" in kept.output
    assert starred(pixelmeter) == "yolov8s@1"
    switched = pixelmeter("activate", "detect", "yolov8s@2")
    assert "yolov8s of detect means yolov8s@2 now (before: yolov8s@1)." in switched.output
    assert starred(pixelmeter) == "yolov8s@2"
    assert pixelmeter("activate", "detect", "yolov8s", "--previous").exit_code == 0
    assert starred(pixelmeter) == "yolov8s@1"


def starred(pixelmeter) -> str:
    rows = [line.split() for line in pixelmeter("list").output.splitlines()]
    [row] = [row for row in rows if row[1].startswith("yolov8s@") and row[2] == "*"]
    return row[1]


def test_a_switch_that_cannot_be_is_said_in_one_sentence(pixelmeter):
    failed = pixelmeter("activate", "detect", "yolov8s")
    assert failed.exit_code != 0
    assert "say which version of yolov8s" in (failed.output + str(failed.exception))


def test_a_half_precision_variant_is_made_listed_and_refused(pixelmeter, monkeypatch, model_mirror):
    monkeypatch.setenv("PIXELMETER_MODEL_MIRROR", str(model_mirror))
    lost = pixelmeter("convert", "detect", "yolox-nano", "--fp16")
    assert lost.exit_code != 0
    said = lost.output + str(lost.exception)
    assert "the fp16 variant of yolox-nano@1 differs by 14." in said
    assert "more than 2.00%" in said
    made = pixelmeter("convert", "detect", "yolov8n@1", "--fp16")
    assert "Registered yolov8n@2 (fp16, sha256 " in made.output
    assert "on 5 inputs" in made.output
    again = pixelmeter("convert", "detect", "yolov8n", "--fp16")
    assert "yolov8n@2 is the fp16 variant already" in again.output
    lines = pixelmeter("list").output.splitlines()
    [place] = [number for number, line in enumerate(lines) if "yolov8n@2" in line]
    assert "fp16 of 2b668334c4fa" in lines[place + 1]
    assert "*" not in lines[place]
    assert pixelmeter("convert", "detect", "yolov8n").exit_code == 2  # the precision must be said
