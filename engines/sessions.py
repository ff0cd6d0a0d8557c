"""What a worker process has loaded: each network once, for as long as the process lives."""

import contextlib
import ctypes
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, Generic, TypeVar, cast

from engines.foreign.opening import open_network
from engines.runners.base import Runner
from engines.runners.ort import usable_cores

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Thing]):
    """Something loaded and what loading it cost this time."""

    value: Thing
    cold_start_ms: float  # 0 when it was already there


class Sessions:
    """Owned by the worker process and given to every engine; never a module global.

    Args:
        threads: CPU threads per network; None: all cores this process may use.
        open_runner: how a weights file becomes a runner; tests give a fake.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        open_runner: Callable[..., Runner] = open_network,
    ) -> None:
        self.threads = threads or usable_cores()
        self._open_runner = open_runner
        self._lock = Lock()
        self._things: dict[Hashable, Any] = {}

    def runner(self, weights: Path) -> Loaded[Runner]:
        """The network of a verified weights file, loaded at the first call for this path."""
        return self.load(
            ("runner", str(weights)), lambda: self._open_runner(weights, threads=self.threads)
        )

    def lanes(self, weights: Path) -> Loaded[tuple[Runner, ...]]:
        """Runners of one network that may run at the same time, each on a thread of its own.

        On a CPU as many as ``threads``: together they do more than one network of all threads,
        though each call takes longer. One alone where the device takes one call at a time.
        """
        whole = self.runner(weights)
        if self.threads == 1 or whole.value.twin() is None:
            return Loaded((whole.value,), whole.cold_start_ms)
        lanes = self.load(("lanes", str(weights)), lambda: self._open_lanes(weights))
        return Loaded(lanes.value, whole.cold_start_ms + lanes.cold_start_ms)

    def _open_lanes(self, weights: Path) -> tuple[Runner, ...]:
        first = self._open_runner(weights, threads=1)
        twins = [first.twin() for _ in range(self.threads - 1)]
        return (first, *(twin for twin in twins if twin is not None))

    def load(self, key: Hashable, build: Callable[[], Thing]) -> Loaded[Thing]:
        """Anything costly that an engine wants to build once, e.g. a cascade or a HOG detector."""
        with self._lock:
            if key in self._things:
                return Loaded(value=cast("Thing", self._things[key]), cold_start_ms=0.0)
            started = perf_counter()
            thing = build()
            self._things[key] = thing
            return Loaded(value=thing, cold_start_ms=(perf_counter() - started) * 1000)

    def forget(self, weights: Path) -> bool:
        """Free the networks of one weights file; whether there were any. Call it between runs."""
        with self._lock:
            names = [key for key in self._things if isinstance(key, tuple) and str(weights) in key]
            things = [self._things.pop(name) for name in names]
        _close(things)
        return bool(things)

    def close(self) -> None:
        """Free every network; the next call loads again."""
        with self._lock:
            things, self._things = list(self._things.values()), {}
        _close(things)


def _close(things: Iterable[Any]) -> None:
    for thing in things:
        for part in thing if isinstance(thing, tuple) else (thing,):
            close = getattr(part, "close", None)
            if callable(close):
                close()
    del things
    # The allocator keeps what was freed; a network's worth of it is worth giving back.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
