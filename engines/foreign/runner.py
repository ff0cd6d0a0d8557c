"""A runner whose network lives in a confined child: the contract of every other runner.

The child gets the weights as bytes and the feeds of each run; it has no environment, no files, no
network and a bound on memory (``jail``). What it answers is checked like anything from outside.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

import engines
from engines.child_process import read_exactly, write_all
from engines.errors import EngineFaultError
from engines.foreign.refusal import ForeignWeightsError
from engines.foreign.wire import ARRAYS_BYTES_MAX, WireError, pack, unpack
from engines.runners.base import Array, Facts, Feeds, TensorSpec
from engines.runners.feeds import check_feeds
from engines.runners.host import cpu_name

log = logging.getLogger(__name__)

START_S: Final = 60.0  # a busy machine imports slowly
LOAD_S: Final = 30.0
RUN_S: Final = 30.0
_REAP_S: Final = 1.0


class SandboxedRunner:
    """One foreign ONNX network.

    Args:
        weights: the file's bytes.
        inspected: whether these very bytes passed ``inspection`` before.
        cpu_s: processor time after which the kernel ends the child; None: only the clock does.

    Raises:
        ForeignWeightsError: the weights are refused, or broke their child.
    """

    kind = "onnxruntime"

    def __init__(
        self, weights: bytes, *, inspected: bool, cpu_s: int | None = None, run_s: float = RUN_S
    ) -> None:
        self._run_s = run_s
        self._elapsed_ms = 0.0
        self._child: subprocess.Popen[bytes] | None = _start(cpu_s)
        try:
            hello, _ = self._answer(START_S)
            self.holds: tuple[str, ...] = tuple(hello.get("holds", ()))
            if not {"no_network", "no_system"} & set(self.holds):
                log.warning("foreign weights run with limits only: the kernel permits no more")
            content = np.frombuffer(weights, np.uint8)
            facts, _ = self._ask(
                {"do": "load", "inspected": inspected}, {"weights": content}, LOAD_S
            )
            self.inputs = tuple(_spec(each) for each in facts["inputs"])
            self.outputs = tuple(_spec(each) for each in facts["outputs"])
            self.metadata: Mapping[str, str] = {
                str(k): str(v) for k, v in facts["metadata"].items()
            }
            self.precision = str(facts["precision"])
            self.provider = str(facts["provider"])
            self.facts = Facts(
                kind=self.kind,
                provider=self.provider,
                precision=self.precision,
                device=cpu_name(),
                inputs=self.inputs,
                outputs=self.outputs,
                metadata=self.metadata,
            )
        except BaseException:
            self.close()
            raise

    @property
    def elapsed_ms(self) -> float:
        """Duration of the last run inside the child."""
        return self._elapsed_ms

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Of the last run."""
        return {"execute": self._elapsed_ms}

    @property
    def is_closed(self) -> bool:
        """Also when its child died."""
        return self._child is None

    @property
    def device_bytes(self) -> int:
        """None: it runs on the CPU."""
        return 0

    @property
    def pid(self) -> int | None:
        """The child's process, while there is one."""
        return None if self._child is None else self._child.pid

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; the arrays are fresh and belong to the caller."""
        if self._child is None:
            raise EngineFaultError("this runner is closed; open another one")
        check_feeds(self.inputs, feeds)
        started = time.perf_counter()
        head, arrays = self._ask({"do": "run"}, feeds, self._run_s)
        wall_ms = (time.perf_counter() - started) * 1000
        # What the child says of its time is bounded by what passed here.
        self._elapsed_ms = min(max(float(head["elapsed_ms"]), 0.0), wall_ms)
        if set(arrays) != {spec.name for spec in self.outputs}:
            raise self._broken("its outputs are not those it declared")
        return arrays

    def twin(self) -> Self | None:
        """None: one child, one call at a time."""
        return None

    def close(self) -> None:
        """End the child."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def __enter__(self) -> Self:
        """Give the runner itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _ask(
        self, head: Mapping[str, Any], arrays: Mapping[str, Array], within_s: float
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        child = self._child
        assert child is not None  # noqa: S101 - the callers checked
        assert child.stdin is not None  # noqa: S101 - PIPE
        deadline = time.monotonic() + within_s
        try:
            for piece in pack(head, arrays):
                write_all(child.stdin.fileno(), piece, deadline)
        except TimeoutError as error:
            raise self._too_slow(within_s) from error
        except OSError as error:
            raise self._broken("its process died") from error
        answer, values = self._answer(within_s)
        if "code" in answer:
            raise ForeignWeightsError(str(answer["detail"]), code=str(answer["code"]))
        return answer, values

    def _answer(self, within_s: float) -> tuple[dict[str, Any], dict[str, Array]]:
        deadline = time.monotonic() + within_s
        try:
            return unpack(lambda count: self._read(count, deadline))
        except TimeoutError as error:
            raise self._too_slow(within_s) from error
        except (WireError, EOFError, KeyError, TypeError) as error:
            raise self._broken("its process died or answered nonsense") from error

    def _read(self, count: int, deadline: float) -> bytes:
        if count > ARRAYS_BYTES_MAX:
            raise WireError("too long")
        assert self._child is not None  # noqa: S101 - the callers checked
        assert self._child.stdout is not None  # noqa: S101 - PIPE
        return read_exactly(self._child.stdout.fileno(), count, deadline)

    def _too_slow(self, within_s: float) -> ForeignWeightsError:
        self.close()
        detail = f"The network did not answer within {within_s:g} s. Use a smaller one."
        return ForeignWeightsError(detail, code="weights_too_slow")

    def _status(self) -> int | None:
        """How the child ended; a moment passes between its last word and its end."""
        if self._child is None:
            return None
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._child.wait(_REAP_S)
        return None

    def _broken(self, what: str) -> ForeignWeightsError:
        """The error for a child that died, of its limits or of the network; it is gone now."""
        status = self._status()
        self.close()
        if status == -signal.SIGXCPU:  # its processor time is over
            detail = "The network needs too much processor time. Use a smaller one."
            return ForeignWeightsError(detail, code="weights_too_slow")
        detail = f"The network cannot be run: {what}. Export it again, or use another one."
        return ForeignWeightsError(detail, code="weights_crashed")


def _start(cpu_s: int | None) -> subprocess.Popen[bytes]:
    root = Path(engines.__file__).parent.parent
    arguments = [] if cpu_s is None else [str(cpu_s)]
    child = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
        [sys.executable, "-m", "engines.foreign.child", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what a stranger's network makes a library say
        bufsize=0,
        cwd="/",
        env={"PYTHONPATH": str(root), "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1"},
    )
    assert child.stdin is not None  # noqa: S101 - PIPE
    os.set_blocking(child.stdin.fileno(), False)
    return child


def _spec(entry: list[Any]) -> TensorSpec:
    name, shape, dtype = entry
    lengths = tuple(None if length is None else int(length) for length in shape)
    return TensorSpec(name=str(name), shape=lengths, dtype=np.dtype(str(dtype)))
