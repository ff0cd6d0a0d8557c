"""One process under supervision: started, watched, started again, stopped with all it started."""

import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from app.local.deathsig import die_with_parent
from app.local.restarts import after_death

LOG_BYTES_MAX = 10 * 1024 * 1024


class ChildState(StrEnum):
    """How a process stands."""

    RUNNING = "running"  # started and not seen to end
    WAITING = "waiting"  # ended; starts again after its delay
    FAILING = "failing"  # as waiting, after many deaths in a short time
    STOPPED = "stopped"  # not started yet, or stopped on purpose


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """What to run and how to stop it."""

    name: str
    argv: tuple[str, ...]
    log: Path
    cwd: Path
    environment: Mapping[str, str] = field(repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL  # from the kernel, when the supervisor dies
    user: int | None = None  # system user and group; None: ours
    group: int | None = None


class Child:
    """A process and its history. Not thread-safe: the supervisor's main thread owns it."""

    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.state = ChildState.STOPPED
        self.restarts = 0
        self.started_at: datetime | None = None
        self.last_exit: str | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._deaths: list[float] = []
        self._start_after = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs; also the id of its process group."""
        return self._process.pid if self._process is not None else None

    @property
    def deaths(self) -> int:
        """How often it has ended although nobody asked it to."""
        return len(self._deaths)

    def start(self) -> None:
        """Start the process in a group of its own, with its output appended to its log.

        Raises:
            OSError: the program cannot be executed.
        """
        _rotate(self.spec.log)
        with self.spec.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the list is ours
                self.spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.spec.cwd,
                env=dict(self.spec.environment),
                process_group=0,
                user=self.spec.user,
                group=self.spec.group,
                extra_groups=None if self.spec.user is None else [],
                # The supervisor has one thread, which is what makes preexec_fn safe.
                preexec_fn=die_with_parent(self.spec.death_signal),  # noqa: PLW1509
            )
        self.started_at = datetime.now(UTC)
        self.state = ChildState.RUNNING

    def watch(self, *, now: float) -> bool:
        """Notice a death and start again when its delay is over; True when anything changed.

        ``now`` is a monotonic clock in seconds.
        """
        if self.state is ChildState.STOPPED:
            return False
        if self._process is None:
            return self._start_again(now=now)
        code = self._process.poll()
        if code is None:
            return False
        self._bury(code)
        self._plan_restart(now=now)
        return True

    def ask_to_stop(self) -> None:
        """Send the stop signal to the process; its own children are its business until then."""
        running = self._process is not None and self._process.poll() is None
        self.state = ChildState.STOPPED
        if running and self._process is not None:
            self._process.send_signal(self.spec.stop_signal)

    def is_gone(self) -> bool:
        """Whether the process has ended; what is left of its group is ended with it."""
        if self._process is None:
            return True
        code = self._process.poll()
        if code is None:
            return False
        self._bury(code)
        return True

    def kill(self) -> None:
        """End the whole group at once and wait for the process."""
        if self._process is None:
            return
        _kill_group(self._process.pid)
        self._bury(self._process.wait())

    def _start_again(self, *, now: float) -> bool:
        if now < self._start_after:
            return False
        self.restarts += 1
        try:
            self.start()
        except OSError as error:
            self.last_exit = str(error)
            self._plan_restart(now=now)
        return True

    def _plan_restart(self, *, now: float) -> None:
        self._deaths.append(now)
        restart = after_death(self._deaths, now=now)
        self.state = ChildState.FAILING if restart.failing else ChildState.WAITING
        self._start_after = now + restart.delay_s

    def _bury(self, code: int) -> None:
        if self._process is not None:
            _kill_group(self._process.pid)
        self._process = None
        self.last_exit = _exit_words(code)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _exit_words(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _rotate(log: Path) -> None:
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
