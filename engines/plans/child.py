"""The process that builds one plan: ``python -m engines.plans.child PARENT_PID``.

It reads one request from stdin and writes steps and one answer to stdout (``messages``); stderr is
its log. It does nothing else and has no threads of its own, because TensorRT's native threads call
back into Python, and were seen to wait for ever for a process that was busy with other things.

It ends with the process that started it. A crash, and ``SIGABRT`` from outside, leave in the log
where every thread was.
"""

import faulthandler
import logging
import os
import resource
import sys
from collections.abc import Mapping
from functools import partial
from threading import Lock
from typing import Any, BinaryIO

from engines.child_process import end_with_parent, read_stream
from engines.errors import EngineError, EngineFaultError
from engines.plans.build import build_plan
from engines.plans.messages import pack, unpack
from engines.profiles import Profile
from engines.runners import flavours


def main() -> None:
    """Answer one request."""
    end_with_parent(int(sys.argv[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the log says where it was
    faulthandler.enable()
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    flavours.log.setLevel(logging.DEBUG)  # TensorRT's complaints, as they come
    answers = Answers(_stdout_alone())
    answer(*unpack(partial(read_stream, sys.stdin.buffer)), answers)


class Answers:
    """Where messages go, whole ones from any thread."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def send(self, head: Mapping[str, Any], content: bytes = b"") -> None:
        """Send one message now."""
        with self._lock:
            for piece in pack(head, content):
                self._stream.write(piece)
            self._stream.flush()

    def step(self, phase: str, done: int, total: int) -> None:
        """Tell a step; as ``build_plan`` wants it."""
        self.send({"step": [phase, done, total]})


def answer(request: Mapping[str, Any], model: bytes, answers: Answers) -> None:
    """Build and send the plan, or why there is none."""
    try:
        flavour = flavours.load_flavour(flavours.FlavourName(request["flavour"]))
        plan = build_plan(
            model,
            flavour=_same(flavour, request["version"]),
            target=request["target"],
            profiles=[_profile(*each) for each in request["profiles"]],
            tf32=request["tf32"],
            progress=answers.step,
        )
    except EngineError as error:
        told = {"code": error.code, "detail": error.detail, "retryable": error.retryable}
        answers.send({"refused": told})
    else:
        answers.send({}, plan)


def _same(found: flavours.Flavour, version: str) -> flavours.Flavour:
    """The flavour, in the version that the plan will be kept and run under."""
    if found.version != version:
        message = (
            f"{found.name} {found.version} is installed now, and the process that asks for a plan "
            f"runs {version}: start it again"
        )
        raise EngineFaultError(message, code="runner_unavailable")
    return found


def _profile(name: str, least: list[int], usual: list[int], most: list[int]) -> Profile:
    return Profile(name, tuple(least), tuple(usual), tuple(most))


def _stdout_alone() -> BinaryIO:
    """Stdout for messages only: what a library prints goes to the log."""
    ours = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return ours


if __name__ == "__main__":
    main()
