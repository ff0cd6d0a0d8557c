"""The list says which runner a model would have on this host, and why not another."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli.main import cli
from app.cli.models_list import executions
from engines.choice import RunnerName
from engines.opening import RunnerOpener
from engines.plans.cache import PlanCache
from engines.registry import open_registry
from engines.runners.host import Gpu, Host
from tests.networks import write_one_box

L4 = Gpu(0, "NVIDIA L4", (8, 9), 24 << 30)
GPU_HOST = Host((L4,), frozenset({"tensorrt_rtx_bindings", "pycuda"}), has_ort_cuda=True)


@pytest.fixture
def pixelmeter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A CPU host at 100 columns with weights for one model."""
    monkeypatch.setenv("PIXELMETER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIXELMETER_MODEL_MIRROR", raising=False)
    monkeypatch.delenv("PIXELMETER_RUNNER", raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("engines.runners.host.nvidia_gpus", lambda: ())
    path = write_one_box(tmp_path / "box.onnx")
    CliRunner().invoke(cli, ["models", "add", "yolov8s", str(path), "--licence", "MIT"])
    return lambda *words: CliRunner().invoke(cli, ["models", "list", *words]).output


def test_the_list_names_the_runner_and_says_once_why_others_were_passed_over(pixelmeter):
    lines = pixelmeter().splitlines()
    [row] = [line.split() for line in lines if "yolov8s@1" in line]
    assert row[:5] == ["detect", "yolov8s@1", "*", "yes", "onnxruntime"]
    assert "passed over: tensorrt, tensorrt-rtx, onnxruntime-cuda: no NVIDIA GPU here" in lines
    assert all(len(line) <= 100 for line in lines)


def test_a_model_without_its_weights_has_no_runner_yet(pixelmeter):
    [row] = [line.split() for line in pixelmeter().splitlines() if "yolov8m@1" in line]
    assert row == ["detect", "yolov8m@1", "*", "models", "add"]


def test_the_reasons_in_full_are_a_flag_away(pixelmeter):
    lines = [line.split(maxsplit=2) for line in pixelmeter("--runners").splitlines()]
    assert ["yolov8s@1", "onnxruntime", "tensorrt: no NVIDIA GPU here"] in [
        [part.strip() for part in line] for line in lines
    ]


def test_a_runner_asked_for_that_cannot_be_is_shown_as_none(pixelmeter, monkeypatch):
    monkeypatch.setenv("PIXELMETER_RUNNER", "onnxruntime-cuda")
    [row] = [line.split() for line in pixelmeter().splitlines() if "yolov8s@1" in line]
    assert row[4] == "none"
    assert "PIXELMETER_RUNNER_FALLBACK=true" in pixelmeter("--runners")


def test_on_a_gpu_host_a_plan_that_is_not_there_yet_is_told(tmp_path):
    pytest.importorskip("tensorrt_rtx_bindings", reason="the extra plans is not installed")
    registry = open_registry(store=tmp_path / "models")
    registry.add("yolov8s", write_one_box(tmp_path / "box.onnx"), licence="MIT")
    opener = RunnerOpener(plans=PlanCache(tmp_path / "plans"), look=lambda: GPU_HOST)
    [(_, executed)] = executions(registry, opener, registry.resolve("detect", "yolov8s"))
    assert executed.runner is RunnerName.TENSORRT_RTX
    assert executed.note == "its plan is built at the first use"
    assert [each.name for each in executed.passed_over] == [RunnerName.TENSORRT]
    assert list((tmp_path / "plans").glob("*")) == []
