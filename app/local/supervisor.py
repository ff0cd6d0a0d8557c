"""Start every process of this machine in order, keep them alive, stop them without a trace.

One thread, one loop. Databases first; then the tables; then everything else at once, because
the time to ready is the time Python needs to import. A process that dies is started again after
a growing delay. When this process dies, the kernel takes the others along (``deathsig``).
"""

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

from app.local.child import Child, ChildState, ProcessSpec
from app.local.errors import StartFailedError
from app.local.layout import Layout
from app.local.state import ProcessState

logger = logging.getLogger(__name__)

TICK_S = 0.1
DEATHS_TO_GIVE_UP_START = 3  # later a process is started again for as long as it takes
LOG_TAIL_LINES = 12
LOG_LINE_CHARS = 240


class StopRequestedError(Exception):
    """Raised inside a wait when somebody asked the supervisor to stop; not a failure."""


@dataclass(slots=True)
class StopSignals:
    """How often the supervisor was asked to stop; the second time it does not wait."""

    count: int = 0


@contextmanager
def listen_for_stop() -> Iterator[StopSignals]:
    """Count SIGTERM, SIGINT and SIGHUP instead of dying of them."""
    asked = StopSignals()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        asked.count += 1

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    previous = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class Supervisor:
    """The processes of one home. All calls come from the main thread."""

    def __init__(
        self,
        *,
        layout: Layout,
        asked: StopSignals,
        changed: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """``changed`` is called after every start, death and stop."""
        self._layout = layout
        self._asked = asked
        self._changed = changed
        self._monotonic = monotonic
        self._pause = pause
        self._children: list[Child] = []

    def start(self, specs: Sequence[ProcessSpec]) -> list[Child]:
        """Start processes now and supervise them from now on."""
        started = []
        for spec in specs:
            child = Child(spec)
            try:
                child.start()
            except OSError as error:
                message = f"{spec.name} cannot be started: {error}"
                raise StartFailedError(message) from error
            self._children.append(child)
            started.append(child)
        self._changed()
        return started

    def wait_until(self, condition: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Supervise until ``condition`` holds.

        Raises:
            StartFailedError: a process keeps dying, or the time is over.
            StopRequestedError: somebody asked us to stop meanwhile.
        """
        give_up_at = self._monotonic() + timeout_s
        while not condition():
            self._tick()
            self._raise_if_dying()
            if self._monotonic() > give_up_at:
                message = (
                    f"{what} was not ready after {timeout_s:.0f} s. "
                    f"The logs are in {self._layout.logs}"
                )
                raise StartFailedError(message)

    def watch(self) -> None:
        """Supervise until somebody asks us to stop."""
        while True:
            try:
                self._tick()
            except StopRequestedError:
                return

    def stop(self, names: Sequence[str], *, grace_s: float) -> None:
        """Stop processes together: ask, wait up to ``grace_s``, then end their groups."""
        children = [child for child in self._children if child.spec.name in names]
        for child in children:
            child.ask_to_stop()
        self._changed()
        requests = self._asked.count
        started_at = self._monotonic()
        give_up_at = started_at + grace_s
        while not all(child.is_gone() for child in children):
            if self._monotonic() > give_up_at or self._asked.count > max(requests, 1):
                break
            self._pause(TICK_S / 2)
        for child in children:
            if not child.is_gone():
                logger.warning("%s did not stop in time and was ended", child.spec.name)
                child.kill()
        logger.info("stopped %s in %.1f s", ", ".join(names), self._monotonic() - started_at)
        self._changed()

    @property
    def names(self) -> list[str]:
        """Names in the order of their start."""
        return [child.spec.name for child in self._children]

    def states(self) -> list[ProcessState]:
        """How each process stands."""
        return [_state_of(child) for child in self._children]

    def _tick(self) -> None:
        if self._asked.count:
            raise StopRequestedError
        now = self._monotonic()
        for child in self._children:
            before = child.state
            if child.watch(now=now):
                self._tell(child, before)
                self._changed()
        self._pause(TICK_S)

    def _tell(self, child: Child, before: ChildState) -> None:
        name, log = child.spec.name, child.spec.log
        if child.state is ChildState.RUNNING:
            logger.info("%s was started again (pid %s)", name, child.pid)
        elif child.state is ChildState.FAILING and before is not ChildState.FAILING:
            logger.error("%s keeps dying (%s); see %s", name, child.last_exit, log)
        else:
            logger.warning("%s ended (%s); it is started again", name, child.last_exit)

    def _raise_if_dying(self) -> None:
        for child in self._children:
            if child.deaths >= DEATHS_TO_GIVE_UP_START:
                message = (
                    f"{child.spec.name} keeps dying ({child.last_exit}). "
                    f"The end of {child.spec.log}:\n{_tail(child.spec)}"
                )
                raise StartFailedError(message)


def _state_of(child: Child) -> ProcessState:
    started_at = child.started_at
    return ProcessState(
        name=child.spec.name,
        state=child.state.value,
        pid=child.pid,
        started_at=started_at.isoformat() if started_at is not None else None,
        restarts=child.restarts,
        last_exit=child.last_exit,
    )


def _tail(spec: ProcessSpec) -> str:
    lines = spec.log.read_text(errors="replace").splitlines()
    return "\n".join(line[:LOG_LINE_CHARS] for line in lines[-LOG_TAIL_LINES:])
