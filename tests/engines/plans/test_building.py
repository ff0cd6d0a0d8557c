"""A builder that hangs, crashes or lies costs its caller an error, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engines.errors import EngineFaultError, ExhaustedError
from engines.plans.building import build_apart
from engines.plans.making import make_plan
from engines.profiles import Profile
from engines.runners.flavours import Flavour, FlavourName

SMALL = Profile("images", (1, 3, 8, 8), (2, 3, 16, 16), (4, 3, 32, 32))
TOY = Flavour(FlavourName.TENSORRT_RTX, trt=None, version="0.1")
HANG = """
sleeper = subprocess.Popen(["sleep", "1000"])  # what a builder may start is of its group
(HERE / "draft").write_text(f"{os.getpid()} {os.getppid()} {sleeper.pid}")
(HERE / "draft").rename(HERE / "pids")
time.sleep(1000)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Put a TensorRT of our own before any real one in children; ``body`` is what its builder does.

    ``tensorrt_rtx`` is the first name that the flavour is looked for under.
    """
    folder = tmp_path / "toy"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def write(body: str) -> Path:
        lines = "\n        ".join(body.strip().splitlines())
        (folder / "tensorrt_rtx.py").write_text(
            "import os, signal, subprocess, time\n"
            "from pathlib import Path\n"
            "HERE = Path(__file__).parent\n"
            f"__version__ = {TOY.version!r}\n"
            "class ILogger:\n"
            "    INTERNAL_ERROR, ERROR, WARNING = range(3)\n"
            "class Builder:\n"
            f"    def __init__(self, logger):\n        {lines}\n"
        )
        return folder

    return write


def build(flavour: Flavour = TOY) -> bytes:
    return build_apart(b"network", flavour=flavour, target="sm89", profiles=(), limit_s=60)


def who_builds(folder: Path) -> list[int]:
    """The builder, the process that started it, and one that it started."""
    deadline = time.monotonic() + 20
    while not (folder / "pids").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def await_end(pid: int) -> None:
    deadline = time.monotonic() + 5
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"{pid} is still there"
        time.sleep(0.02)


def test_a_builder_that_hangs_is_ended_at_the_limit_and_leaves_no_file_and_no_process(
    toy, cache, wanted, small_network, caplog
):
    folder, network = toy(HANG), wanted(small_network, SMALL)
    started = time.monotonic()
    with pytest.raises(ExhaustedError, match="no plan for sm89 within 2 s") as refused:
        make_plan(network, flavour=TOY, target="sm89", cache=cache, limit_s=2)
    assert 2 <= time.monotonic() - started < 8
    assert (refused.value.code, refused.value.retryable) == ("plan_build_too_slow", True)
    assert "before its first step" in refused.value.detail
    assert "PIXELMETER_PLAN_BUILD_S" in refused.value.detail
    assert str(Path(__file__).parent) not in refused.value.detail
    assert "tensorrt_rtx.py" in caplog.text  # where it hung
    assert list(cache.folder.iterdir()) == []
    builder, parent, sleeper = who_builds(folder)
    assert parent == os.getpid()
    assert not psutil.pid_exists(builder)
    await_end(sleeper)
    with pytest.raises(ExhaustedError):  # and the next one is not kept waiting by its lock
        make_plan(network, flavour=TOY, target="sm89", cache=cache, limit_s=0.5)


def test_a_builder_ends_with_a_killed_parent(toy):
    folder = toy(HANG)
    code = (
        "from engines.plans.building import build_apart\n"
        "from engines.runners.flavours import Flavour, FlavourName\n"
        f"flavour = Flavour(FlavourName.TENSORRT_RTX, None, {TOY.version!r})\n"
        "build_apart(b'', flavour=flavour, target='sm89', profiles=(), limit_s=60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        builder, started_by, sleeper = who_builds(folder)
        assert started_by == parent.pid
        parent.kill()
    await_end(builder)
    os.kill(sleeper, signal.SIGKILL)  # the kernel ends the builder alone, which starts nothing


def test_a_crash_is_told_with_its_signal_and_what_tensorrt_said_last(toy, caplog):
    toy('logger.log(ILogger.ERROR, "cannot map memory")\nos.kill(os.getpid(), signal.SIGSEGV)')
    with pytest.raises(EngineFaultError, match="killed by SIGSEGV") as refused:
        build()
    assert (refused.value.code, refused.value.retryable) == ("plan_build_crashed", True)
    assert "it said last: TensorRT: cannot map memory." in refused.value.detail
    assert "tensorrt_rtx.py" in caplog.text


def test_a_builder_that_the_kernel_kills_is_told(toy):
    toy("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(EngineFaultError, match="killed by SIGKILL before its first step"):
        build()


def test_what_a_builder_raises_is_told(toy):
    toy('raise RuntimeError("no driver")')
    with pytest.raises(EngineFaultError, match=r"status 1 .* said last: RuntimeError: no driver"):
        build()


def test_a_builder_of_another_version_than_the_plan_is_for_builds_nothing(toy):
    toy("time.sleep(1000)")
    with pytest.raises(EngineFaultError, match=r"0\.1 is installed .* runs 0\.2: start") as refused:
        build(flavour=replace(TOY, version="0.2"))
    assert refused.value.code == "runner_unavailable"


def test_what_a_library_prints_is_no_part_of_the_plan_and_every_step_is_told(
    toy, rtx, wanted, small_network
):
    toy("pass").joinpath("tensorrt_rtx.py").write_text(
        "import tensorrt_rtx_bindings as real\n"
        "globals().update(vars(real))\n"
        "print('a banner', flush=True)\n"
    )
    network, steps = wanted(small_network, SMALL), []
    plan = build_apart(
        network.model,
        flavour=rtx,
        target="sm89",
        profiles=network.profiles,
        progress=lambda *step: steps.append(step),
    )
    assert len(plan) > 1000
    assert steps
    assert all(0 < done <= total for _, done, total in steps)
