"""Networks are opened with the runner that was chosen; plans are found, or built first."""

import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest

from engines.choice import Policy, RunnerName, RunnerUnavailableError
from engines.errors import EngineFaultError, ExhaustedError
from engines.opening import NetworkSource, RunnerOpener
from engines.plans.cache import PlanCache
from engines.profiles import Profile
from engines.runners.base import TensorSpec
from engines.runners.flavours import Flavour, FlavourName, load_flavour
from engines.runners.host import Gpu, Host

sys.path.insert(0, str(Path(__file__).parent / "runners"))

from recording import Network, RecordedTrt, recorded_device

FLOAT = np.dtype(np.float32)
FREE = ("n", 3, "h", "w")
PROFILE = Profile("images", (1, 3, 8, 8), (2, 3, 16, 16), (4, 3, 16, 16))
L4 = Gpu(0, "NVIDIA L4", (8, 9), 24 << 30)
HOST = Host((L4,), frozenset({"tensorrt_rtx_bindings", "pycuda"}), has_ort_cuda=False)
CPU = Host((), frozenset(), has_ort_cuda=False)


@pytest.fixture
def source(tiny_onnx):
    path = tiny_onnx(shape=FREE)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return NetworkSource(path, sha256, (PROFILE,))


class MixedTrt:
    """Builds with the real package and runs on the recorded device."""

    def __init__(self, real, recorded):
        self._real, self._recorded = real, recorded

    def __getattr__(self, name):
        if name in {"Runtime", "nptype", "TensorIOMode"}:
            return getattr(self._recorded, name)
        return getattr(self._real, name)


@pytest.fixture
def gpu_opener(tmp_path):
    """An opener on a recorded L4 whose plans are real ones."""
    pytest.importorskip("tensorrt_rtx_bindings", reason="the extra plans is not installed")
    real = load_flavour(FlavourName.TENSORRT_RTX)
    device, cuda = recorded_device()
    network = Network(
        inputs=(TensorSpec("images", (None, 3, None, None), FLOAT),),
        outputs=(TensorSpec("output0", (None, 3, None, None), FLOAT),),
        limits={"images": (PROFILE.min, PROFILE.opt, PROFILE.max)},
        shapes=lambda shapes: {"output0": shapes["images"]},
        compute=lambda feeds: {"output0": feeds["images"] + 1},
    )
    trt = MixedTrt(real.trt, RecordedTrt(network, cuda))

    def make(policy=None, host=HOST):
        return RunnerOpener(
            policy,
            plans=PlanCache(tmp_path / "plans"),
            look=lambda: host,
            open_device=lambda index: device,
            flavours=lambda name: Flavour(name, trt, real.version),
        )

    return make


def test_on_a_cpu_the_network_runs_on_onnx_runtime(source):
    with RunnerOpener(look=lambda: CPU)(source, threads=1) as runner:
        assert (runner.kind, runner.provider) == ("onnxruntime", "CPUExecutionProvider")


def test_a_missing_plan_is_built_at_the_first_opening_and_found_at_the_next(gpu_opener, source):
    assert gpu_opener().must_build(source)
    with gpu_opener()(source, threads=1) as runner:
        answer = runner.run({"images": np.zeros((2, 3, 16, 16), np.float32)})
        facts = runner.facts
    assert np.all(answer["output0"] == 1)
    assert (facts.kind, facts.precision, facts.device) == (
        "tensorrt-rtx",
        "fp32",
        "cuda:0 Recorded",
    )
    assert facts.plan.startswith("sm89-")
    assert not gpu_opener().must_build(source)


def test_a_network_without_a_profile_goes_to_the_next_runner_with_the_reason(gpu_opener, source):
    bare = NetworkSource(source.path, source.sha256)
    reasons = {each.name: each.obstacle for each in gpu_opener().consider(bare)}
    assert "no profile says" in reasons[RunnerName.TENSORRT_RTX]
    with gpu_opener()(bare, threads=1) as runner:
        assert runner.kind == "onnxruntime"


def test_a_gpu_that_the_flavour_does_not_know_is_a_reason(gpu_opener, source):
    h100 = Gpu(0, "NVIDIA H100", (9, 0), 80 << 30)
    host = Host((h100,), HOST.modules, has_ort_cuda=False)
    reasons = {each.name: each.obstacle for each in gpu_opener(host=host).consider(source)}
    assert "not for 'sm90'" in reasons[RunnerName.TENSORRT_RTX]


def test_a_runner_asked_for_and_missing_opens_nothing(source):
    opener = RunnerOpener(Policy(runner=RunnerName.ORT_CUDA), look=lambda: CPU)
    with pytest.raises(RunnerUnavailableError, match="onnxruntime-cuda was asked for"):
        opener(source, threads=1)
    assert not opener.must_build(source)


def test_a_runner_that_fails_to_open_is_an_error_unless_falling_back_is_allowed(source, caplog):
    def broken(index):
        raise EngineFaultError("the driver is too old", code="runner_unavailable")

    host = Host((L4,), frozenset({"pycuda"}), has_ort_cuda=True)
    with pytest.raises(EngineFaultError, match="too old"):
        RunnerOpener(look=lambda: host, open_device=broken)(source, threads=1)
    policy = Policy(may_fall_back=True)
    with RunnerOpener(policy, look=lambda: host, open_device=broken)(source, threads=1) as runner:
        assert runner.provider == "CPUExecutionProvider"
    assert "onnxruntime-cuda does not run tiny.onnx: the driver is too old" in caplog.text


@pytest.fixture
def endless_builds(tmp_path, monkeypatch):
    """The real TensorRT, but for its builder, which never returns; seen by children alone."""
    folder = tmp_path / "endless"
    folder.mkdir()
    (folder / "tensorrt_rtx.py").write_text(
        "import time\n"
        "import tensorrt_rtx_bindings\n"
        "globals().update(vars(tensorrt_rtx_bindings))\n"
        "def Builder(logger):\n"
        "    time.sleep(1000)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.usefixtures("endless_builds")
def test_a_plan_that_is_not_built_in_time_is_an_error_unless_falling_back_is_allowed(
    gpu_opener, source, caplog
):
    with pytest.raises(ExhaustedError, match="within 1 s and was ended") as refused:
        gpu_opener(Policy(plan_build_s=1))(source, threads=1)
    assert refused.value.code == "plan_build_too_slow"
    caplog.clear()
    with gpu_opener(Policy(plan_build_s=1, may_fall_back=True))(source, threads=1) as runner:
        assert runner.provider == "CPUExecutionProvider"
    assert "tensorrt-rtx does not run tiny.onnx: tensorrt-rtx" in caplog.text


def test_openvino_runs_at_the_precision_of_the_policy(source):
    pytest.importorskip("openvino")
    host = Host((), frozenset({"openvino"}), has_ort_cuda=False)
    opener = RunnerOpener(Policy(runner=RunnerName.OPENVINO), look=lambda: host)
    with opener(source, threads=1) as runner:
        assert (runner.kind, runner.precision) == ("openvino", "fp32")
