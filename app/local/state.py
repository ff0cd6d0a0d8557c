"""What a running supervisor leaves on disk for others to read: pid file, state and dev.json.

The pid file is held by a lock of the kernel, not by its content: the lock goes with the process,
however it ends, so "is it running?" never has to guess from a number that may be somebody else's.
"""

import fcntl
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from app.local.errors import AlreadyRunningError, NotRunningError
from app.local.layout import Layout

PRIVATE_FILE = 0o600
LOCK_PATIENCE_S = 0.3


@dataclass(frozen=True, slots=True)
class ProcessState:
    """One line of `pixelmeter status`."""

    name: str
    state: str
    pid: int | None
    started_at: str | None  # ISO 8601, UTC
    restarts: int
    last_exit: str | None


@dataclass(frozen=True, slots=True)
class PlatformState:
    """What the supervisor of a home says about it."""

    pid: int
    phase: str  # starting | ready | stopping
    started_at: str
    base_url: str
    database_url: str
    redis_url: str
    storage_url: str
    comfyui_url: str
    outbound_allow: list[str] = field(default_factory=list)
    processes: list[ProcessState] = field(default_factory=list)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Read what ``write_json`` wrote."""
        processes = [ProcessState(**process) for process in document["processes"]]
        return cls(**{**document, "processes": processes})


class PidFile:
    """The right to supervise a home, held from ``acquire`` until ``release`` or death."""

    def __init__(self, path: Path, descriptor: int, *, stale_pid: int | None) -> None:
        self._path = path
        self._descriptor = descriptor
        self.stale_pid = stale_pid  # of a supervisor that did not stop cleanly

    @classmethod
    def acquire(cls, layout: Layout) -> Self:
        """Take the home.

        Raises:
            AlreadyRunningError: another supervisor has it; names its pid and address.
        """
        give_up_at = time.monotonic() + LOCK_PATIENCE_S
        while True:
            descriptor = os.open(layout.pid_file, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
            if _try_lock(descriptor, exclusive=True) and _is_at(layout.pid_file, descriptor):
                break
            # Held: by a supervisor, or for a moment by somebody who asks. Or removed by its last
            # owner between our two calls.
            os.close(descriptor)
            if time.monotonic() > give_up_at:
                raise _already_running(layout)
            time.sleep(0.02)
        stale_pid = _read_pid(layout.pid_file)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return cls(layout.pid_file, descriptor, stale_pid=stale_pid)

    def release(self) -> None:
        """Remove the file, then let go of the lock."""
        self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def running_pid(layout: Layout) -> int | None:
    """The pid of the supervisor that holds this home, or None."""
    try:
        descriptor = os.open(layout.pid_file, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        return None if _try_lock(descriptor, exclusive=False) else _read_pid(layout.pid_file)
    finally:
        os.close(descriptor)


def clean_stale(layout: Layout) -> int | None:
    """Remove what a supervisor left that did not stop cleanly; return its pid, or None.

    Call it only when ``running_pid`` is None.
    """
    stale_pid = _read_pid(layout.pid_file)
    layout.pid_file.unlink(missing_ok=True)
    layout.state_file.unlink(missing_ok=True)
    return stale_pid


def read_state(layout: Layout) -> PlatformState:
    """The running platform of this home.

    Raises:
        NotRunningError: nothing runs here.
    """
    document = read_json(layout.state_file)
    if running_pid(layout) is None or document is None:
        message = f"Nothing runs in {layout.home}. Start it with `pixelmeter up`."
        raise NotRunningError(message)
    return PlatformState.from_json(document)


def write_state(layout: Layout, state: PlatformState) -> None:
    """Replace the state file; it holds addresses with passwords and is private."""
    write_json(layout.state_file, asdict(state))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None when there is no such file."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return dict(document)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a private JSON file in one step: readers see the old or the new one, never a half."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as stream:
        json.dump(document, stream, indent=2)
        stream.write("\n")
    fresh.replace(path)


def _already_running(layout: Layout) -> AlreadyRunningError:
    pid = _read_pid(layout.pid_file) or 0
    state = read_json(layout.state_file)
    address = f" at {state['base_url']}" if state is not None else ""
    message = (
        f"Pixelmeter is already running in {layout.home} (pid {pid}){address}. "
        "Stop it with `pixelmeter down`, or set PIXELMETER_HOME to another folder for a second one."
    )
    return AlreadyRunningError(message, pid=pid)


def _read_pid(path: Path) -> int | None:
    with suppress(FileNotFoundError, ValueError):
        return int(path.read_text())
    return None


def _try_lock(descriptor: int, *, exclusive: bool) -> bool:
    kind = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
