"""Weights of strangers, tried in a child: every bad one has its code, and this process lives."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from engines import trial
from engines.errors import EngineError
from engines.foreign.jail import call_filter
from engines.foreign.refusal import ForeignWeightsError
from engines.foreign.runner import SandboxedRunner
from engines.manifest import ModelVersion
from engines.registry import Registry, open_registry
from engines.trial import Tried, foreign_model, try_weights
from tests.engines.foreign import hostile
from tests.networks import write_one_box

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    return open_registry(store=tmp_path_factory.mktemp("store")).resolve("detect", "yolov8s")


def attempt(content: bytes, base: ModelVersion) -> Tried:
    digest = hashlib.sha256(content).hexdigest()
    return try_weights(content, engine="detect", base=base, sha256=digest)


def test_a_good_network_passes_and_says_what_confined_it(base: ModelVersion) -> None:
    tried = attempt(hostile.plain(), base)
    assert tried.inputs == {"images": [-1, 3, -1, -1]}
    assert "limits" in tried.holds


NAMES = str(dict.fromkeys(range(80), "x"))
BAD: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "zip renamed": (hostile.zip_archive, {"not_onnx"}),
    "external data": (
        lambda: hostile.external_data(Path("/etc/passwd")),
        {"weights_external_data"},
    ),
    "custom operator": (hostile.custom_operator, {"weights_operator_forbidden"}),
    "6 GB": (hostile.six_gigabytes, {"weights_too_hungry"}),
    "wrong inputs": (hostile.wrong_input_name, {"weights_unreadable"}),
    "NaN": (lambda: hostile.plain(value=float("nan")), {"network_output_invalid"}),
    "too few classes": (lambda: hostile.plain(rows=10), {"classes_mismatch"}),
    "other classes than named": (
        lambda: hostile.plain(metadata={"names": "{0: 'a', 1: 'b'}"}),
        {"classes_mismatch"},
    ),
    "a graph that cannot be": (
        lambda: hostile.network([helper.make_node("Add", ["images", "nobody"], ["output0"])]),
        {"weights_unreadable"},
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_weights_have_a_clear_code_and_this_process_lives(
    name: str, base: ModelVersion
) -> None:
    make, codes = BAD[name]
    with pytest.raises(EngineError) as refused:
        attempt(make(), base)
    assert refused.value.code in codes, refused.value.detail
    assert not refused.value.retryable


@pytest.mark.parametrize("limit", ["processor time", "clock"])
def test_an_endless_loop_is_ended(
    base: ModelVersion, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "clock":
        monkeypatch.setattr(trial, "TRIAL_RUN_S", 2.0)
    else:
        monkeypatch.setattr(trial, "TRIAL_CPU_S", 3)
    started = time.monotonic()
    with pytest.raises(ForeignWeightsError) as refused:
        attempt(hostile.endless_loop(), base)
    assert refused.value.code == "weights_too_slow"
    assert time.monotonic() - started < 28


def test_a_base_without_a_network_is_refused(tmp_path: Path) -> None:
    registry = open_registry(store=tmp_path)
    for engine, name in (("detect", "builtin"), ("colorize", "tiny")):
        content = hostile.plain()
        with pytest.raises(EngineError) as refused:
            try_weights(
                content,
                engine=engine,
                base=registry.resolve(engine, name),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        assert refused.value.code == "base_unsuitable"


def test_foreign_weights_of_the_store_run_in_their_own_process(
    tmp_path: Path, base: ModelVersion, photo: Path, context: object
) -> None:
    from engines.foreign.opening import FOREIGN_FOLDER
    from engines.media.limits import MediaLimits
    from engines.media.probe import probe
    from engines.spec import InputFiles

    content = write_one_box(tmp_path / "mine.onnx").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    (tmp_path / FOREIGN_FOLDER).mkdir()
    (tmp_path / FOREIGN_FOLDER / f"{digest}.onnx").write_bytes(content)
    registry: Registry = open_registry(store=tmp_path)
    model = foreign_model(
        base,
        name="mine",
        version="1",
        sha256=digest,
        size=len(content),
        licence="MIT",
        inputs={"images": [-1, 3, -1, -1]},
    )
    runner = registry.sessions.runner(registry.weights_path(model)).value
    assert getattr(runner, "pid", None) or "Sandboxed" in repr(runner)
    engine = registry.engine("detect")
    files = InputFiles(photo, probe(photo, MediaLimits()))
    result = engine.run(model, engine.params_model(), files, context)  # type: ignore[arg-type]
    assert result.data["predictions"][0]["label"] == "person"
    assert result.usage.model == "mine@1"
    assert result.usage.work.attributes["model"] == "yolov8s"
    registry.sessions.close()


def test_a_child_that_is_killed_is_told_and_costs_only_its_run(base: ModelVersion) -> None:
    with SandboxedRunner(hostile.plain(), inspected=False) as runner:
        feeds = {"images": np.zeros((1, 3, 32, 32), np.float32)}
        assert runner.run(feeds)["output0"].shape == (1, hostile.ROWS, 1)
        assert runner.pid is not None
        subprocess.run(["kill", "-9", str(runner.pid)], check=True)
        with pytest.raises(ForeignWeightsError) as broken:
            runner.run(feeds)
        assert broken.value.code == "weights_crashed"


JAILED = """
import ctypes, os, socket, sys
from engines.foreign.jail import confine
holds = confine(cpu_s=10)
def tried(what):
    try:
        what()
    except OSError as error:
        return error.errno
    except MemoryError:
        return "no memory"
    return "done"
libc = ctypes.CDLL(None, use_errno=True)
def raw(number):
    if libc.syscall(number, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "")
print(holds)
print(tried(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)))
print(tried(lambda: open("/etc/passwd")))
print(tried(lambda: open("/tmp/pixelmeter-jail-test", "w")))
print(tried(lambda: os.execv("/bin/true", ["true"])))
print(tried(lambda: os.kill(os.getppid(), 0)))
print(tried(lambda: raw(425 if os.uname().machine in ("x86_64", "aarch64") else 0)))
print(tried(lambda: bytearray(5 * 1024**3)))
"""


def test_a_confined_process_reaches_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", JAILED],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        timeout=60,
        check=True,
    )
    holds, *outcomes = done.stdout.splitlines()
    assert outcomes[-1] == "no memory"
    if "no_system" not in holds:
        pytest.skip(f"the kernel permits {holds} only")
    assert outcomes[:-1] == ["1"] * 6  # EPERM


def test_the_filter_refuses_what_is_listed_and_kills_another_machines_calls() -> None:
    refused = (41, 59, 257)
    code = call_filter(0xC000003E, refused)

    def verdict(arch: int, number: int) -> int:
        """Run the program as the kernel does."""
        import struct

        at, value = 0, 0
        while True:
            operation, then, otherwise, operand = struct.unpack("=HBBI", code[at])
            at += 1
            match operation:
                case 0x20:
                    value = {4: arch, 0: number}[operand]
                case 0x15:
                    at += then if value == operand else otherwise
                case 0x35:
                    at += then if value >= operand else otherwise
                case 0x06:
                    return int(operand)

    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    assert [verdict(0xC000003E, number) for number in refused] == [refuse] * 3
    assert [verdict(0xC000003E, number) for number in (0, 1, 42, 56, 435)] == [allow] * 5
    assert verdict(0xC000003E, 0x40000000 + 41) == refuse
    assert verdict(0x40000003, 41) == kill
