"""Build one plan in a process of its own, which is ended when it takes too long.

TensorRT's builder is native code that nothing interrupts: it was seen to wait for ever inside a
process with many other threads, and what is wrong with a network or a driver can crash it. Here
that costs the caller an error, never its process. The plan comes over a pipe: until it is whole
there is no file, and a process that was ended leaves none.
"""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Final

import engines
from engines.child_process import read_exactly, write_all
from engines.choice import PLAN_BUILD_S
from engines.errors import EngineError, EngineFaultError, ExhaustedError
from engines.plans.build import Progress
from engines.plans.messages import pack, unpack
from engines.profiles import Profile
from engines.runners.flavours import Flavour

log = logging.getLogger(__name__)

_LAST_WORDS_S: Final = 2.0  # to write into its log where it was
_REAP_S: Final = 5.0  # who waits for a driver cannot be ended; then we go on without
_LOOK_S: Final = 0.02
_LOG_BYTES: Final = 16 * 1024
_LOG_CHARS_TOLD: Final = 300
_DUMP: Final = "Fatal Python error"  # how faulthandler begins

Child = subprocess.Popen[bytes]


def build_apart(
    model: bytes,
    *,
    flavour: Flavour,
    target: str,
    profiles: Sequence[Profile],
    tf32: bool = False,
    limit_s: float = PLAN_BUILD_S,
    progress: Progress | None = None,
) -> bytes:
    """The serialized engine, as ``build_plan`` makes it.

    Args:
        model: an ONNX file that ONNX Runtime has loaded from bytes, so without external data.
        flavour: what builds, in the version that will run the plan.
        target: as ``check_target`` let through.
        profiles: one for each input with a free length.
        tf32: let fp32 products be rounded to TF32.
        limit_s: how long it may take, from the start of the process on.
        progress: told after every step of TensorRT's own phases.

    Raises:
        EngineFaultError: code ``plan_failed``: TensorRT says no; the message has its reason. Code
            ``plan_build_crashed``: the process died; its log is in ours.
        ExhaustedError: code ``plan_build_too_slow``: it was ended at the limit.
    """
    request = {
        "flavour": flavour.name.value,
        "version": flavour.version,
        "target": target,
        "profiles": [[each.input, each.min, each.opt, each.max] for each in profiles],
        "tf32": tf32,
    }
    building = _Building(f"{flavour.name} {flavour.version}", target, progress)
    with _started() as (child, its_log):
        try:
            return building.exchange(child, pack(request, model), limit_s)
        except TimeoutError:
            os.kill(child.pid, signal.SIGABRT)  # it writes into its log where its threads are
            _status(child, _LAST_WORDS_S)
            raise building.too_slow(limit_s, _tail(its_log)) from None
        except (OSError, EOFError):
            status = _status(child, _REAP_S)
            raise building.crashed(status, _tail(its_log)) from None


class _Building:
    """One exchange, and how its failures are told."""

    def __init__(self, builder: str, target: str, progress: Progress | None) -> None:
        self._builder = builder
        self._target = target
        self._progress = progress
        self._at = "before its first step"

    def exchange(self, child: Child, request: Sequence[bytes], limit_s: float) -> bytes:
        """The plan; raises the refusal, ``TimeoutError``, ``OSError`` or ``EOFError``."""
        assert child.stdin is not None  # noqa: S101 - PIPE
        assert child.stdout is not None  # noqa: S101 - PIPE
        deadline = time.monotonic() + limit_s
        for piece in request:
            write_all(child.stdin.fileno(), piece, deadline)
        read = partial(read_exactly, child.stdout.fileno(), deadline=deadline)
        while True:
            head, plan = unpack(read)
            if "step" in head:
                self._step(*head["step"])
            elif "refused" in head:
                raise _refusal(**head["refused"])
            else:
                return plan

    def _step(self, phase: str, done: int, total: int) -> None:
        self._at = f"after step {done} of {total} of {phase!r}"
        if self._progress is not None:
            self._progress(phase, done, total)

    def too_slow(self, limit_s: float, text: str) -> EngineError:
        log.error("%s was ended after %g s, %s:\n%s", self._builder, limit_s, self._at, text)
        message = (
            f"{self._builder} built no plan for {self._target} within {limit_s:g} s and was ended "
            f"{self._at}{_last_words(text)}. Allow more (PIXELMETER_PLAN_BUILD_S), build it ahead "
            "with `pixelmeter models build`, or choose another PIXELMETER_RUNNER"
        )
        return ExhaustedError(message, code="plan_build_too_slow")

    def crashed(self, status: int | None, text: str) -> EngineError:
        how = _how(status)
        log.error("%s %s, %s:\n%s", self._builder, how, self._at, text)
        message = (
            f"{self._builder} built no plan for {self._target}: its process {how} "
            f"{self._at}{_last_words(text)}. The log of this machine has the rest; free memory, "
            "build it ahead with `pixelmeter models build`, or choose another PIXELMETER_RUNNER"
        )
        return EngineFaultError(message, code="plan_build_crashed")


@contextmanager
def _started() -> Iterator[tuple[Child, IO[bytes]]]:
    """The process and its log; leaving leaves no process of its group and no file.

    It ends with the thread that starts it, which waits here: the kernel ties the two.
    """
    with tempfile.TemporaryFile() as its_log:
        child = subprocess.Popen(  # noqa: S603 - nothing of it comes from outside
            [sys.executable, "-m", "engines.plans.child", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=its_log,
            bufsize=0,
            cwd=Path(engines.__file__).parent.parent,  # where -m finds us
            start_new_session=True,
        )
        try:
            assert child.stdin is not None  # noqa: S101 - PIPE
            os.set_blocking(child.stdin.fileno(), False)
            yield child, its_log
        finally:
            _end(child)


def _end(child: Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    try:
        child.wait(_REAP_S)
    except subprocess.TimeoutExpired:
        log.error("process %d does not end: the kernel holds it, for a driver perhaps", child.pid)  # noqa: TRY400 - the sentence says it all
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None  # noqa: S101 - PIPE
        pipe.close()


def _status(child: Child, within_s: float) -> int | None:
    """How it ended, negative for a signal; None: it has not. Not reaped: its number is its own."""
    deadline = time.monotonic() + within_s
    while True:
        found = os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if found is not None:
            return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        if time.monotonic() > deadline:
            return None
        time.sleep(_LOOK_S)


def _how(status: int | None) -> str:
    if status is None:
        return "stopped answering"
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by {signal.Signals(-status).name}"


def _tail(its_log: IO[bytes]) -> str:
    """The end of what it wrote. For when it is gone: both have one position in the file."""
    length = its_log.seek(0, os.SEEK_END)
    its_log.seek(max(0, length - _LOG_BYTES))
    return its_log.read().decode("utf-8", "replace").strip()


def _last_words(text: str) -> str:
    """What it said last by itself, as the end of a clause; the rest is for our log."""
    said = text.partition(_DUMP)[0].strip().splitlines()
    return f"; it said last: {said[-1].strip()[:_LOG_CHARS_TOLD]}" if said else ""


def _refusal(*, code: str, detail: str, retryable: bool) -> EngineError:
    error = EngineFaultError(detail, code=code)
    error.retryable = retryable
    return error
