"""Probing hostile files in child processes that may die of them.

The children are ``engines.media.probe_child``: confined by the kernel, without our environment,
started at the first file and after every death, ended with their stdin when this process goes.
"""

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import engines
from app.errors import InvalidRequestError, UnavailableError
from engines.media.limits import MediaLimits
from engines.spec import MediaInfo, MediaKind

TIMEOUT_S: Final = 60.0
ANSWER_BYTES_MAX: Final = 65_536
_OURS: Final = frozenset({"ffmpeg_missing", "engine_fault"})  # codes that no file can cause


class _DiedError(Exception):
    """Raised when a child is gone or silent; the file that it read is refused."""


class Prober:
    """A few probing children shared by the threads of one process. Close it, or use ``with``.

    Safe to create before a fork: nothing is started until the first file.
    """

    def __init__(
        self, *, limits: MediaLimits, children: int = 2, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._limits = asdict(limits)
        self._timeout_s = timeout_s
        self._slots: queue.LifoQueue[_Child | None] = queue.LifoQueue()
        self._children = children
        for _ in range(children):
            self._slots.put(None)

    def __call__(self, path: Path) -> MediaInfo:
        """Probe a local file; the caller waits while all children are busy.

        Raises:
            InvalidRequestError: the file is refused; ``media_unreadable`` also when it killed or
                outlasted its child.
            UnavailableError: probing itself does not work here.
        """
        try:
            with self._child() as child:
                answer = child.ask(path, self._limits, timeout_s=self._timeout_s)
        except _DiedError as error:
            raise InvalidRequestError(
                "The file could not be read: decoding it failed or took too long. "
                "Export it again with another program.",
                code="media_unreadable",
            ) from error
        return _media_info(answer)

    def close(self) -> None:
        """End the children, waiting for files that are being probed."""
        for _ in range(self._children):
            child = self._slots.get()
            if child is not None:
                child.end()
        for _ in range(self._children):
            self._slots.put(None)

    def __enter__(self) -> "Prober":
        """Use the prober until the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @contextlib.contextmanager
    def _child(self) -> "Iterator[_Child]":
        child = self._slots.get()
        try:
            if child is not None and not child.alive():
                child.end()
                child = None
            if child is None:
                child = _Child()
            yield child
        except BaseException:
            # Whatever stopped us, the child may still owe an answer: nobody else may read it.
            if child is not None:
                child.end()
            child = None
            raise
        finally:
            self._slots.put(child)


class _Child:
    """One process and its two pipes; used by one thread at a time."""

    def __init__(self) -> None:
        package_root = Path(engines.__file__).parent.parent
        self._process = subprocess.Popen(
            [sys.executable, "-m", "engines.media.probe_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # No secret of this process reaches a decoder; PATH is there for ffmpeg.
            env={
                "PATH": os.pathsep.join(os.get_exec_path()),
                "PYTHONPATH": str(package_root),
                "LC_ALL": "C.UTF-8",
            },
        )

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def ask(
        self, path: Path, limits: Mapping[str, object], *, timeout_s: float
    ) -> Mapping[str, Any]:
        """Send one request and wait for its line."""
        request = json.dumps({"path": str(path), "limits": limits}).encode() + b"\n"
        assert self._process.stdin is not None  # noqa: S101 - PIPE above
        try:
            self._process.stdin.write(request)
            self._process.stdin.flush()
            line = self._read_line(time.monotonic() + timeout_s)
            answer = json.loads(line)
        except (OSError, ValueError) as error:
            raise _DiedError from error
        if not isinstance(answer, dict):
            raise _DiedError
        return answer

    def end(self) -> None:
        """Kill the process if it runs, and reap it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()

    def _read_line(self, deadline: float) -> bytes:
        assert self._process.stdout is not None  # noqa: S101 - PIPE above
        descriptor = self._process.stdout.fileno()
        line = b""
        while not line.endswith(b"\n"):
            ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
            part = os.read(descriptor, ANSWER_BYTES_MAX) if ready else b""
            line += part
            if not part or len(line) > ANSWER_BYTES_MAX:
                raise _DiedError
        return line


def _media_info(answer: Mapping[str, Any]) -> MediaInfo:
    if "code" not in answer:
        return MediaInfo(**{**answer, "kind": MediaKind(answer["kind"])})
    if answer["code"] in _OURS:
        raise UnavailableError(answer["detail"], code=answer["code"])
    raise InvalidRequestError(answer["detail"], code=answer["code"])
