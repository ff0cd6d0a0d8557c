"""What a worker process has loaded: each network once, the least used give way to others.

A network is handed out as a ``KeptRunner``, which may be held for ever: it takes no memory by
itself, and a network that gave way is loaded again at the next run. Engines need not know.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, Generic, TypeVar, cast

from engines.kept import KeptRunner, Network
from engines.memory import default_budget_bytes, give_back_freed
from engines.opening import NetworkSource, RunnerOpener
from engines.runners.base import Runner
from engines.runners.host import usable_cores

Thing = TypeVar("Thing")
Source = Path | NetworkSource


@dataclass(frozen=True, slots=True)
class Loaded(Generic[Thing]):
    """Something loaded and what loading it cost this time."""

    value: Thing
    cold_start_ms: float  # 0 when it was already there


@dataclass(slots=True)
class _Entry(Generic[Thing]):
    """A place in the table; the lock keeps two threads from making the same thing."""

    making: Lock
    thing: Thing | None = None


class Sessions:
    """Owned by the worker process and given to every engine; never a module global.

    Args:
        threads: CPU threads per network; None: all cores this process may use.
        open_runner: how a network is loaded; tests give a fake.
        budget_bytes: what all networks together may take; None: half of the machine's memory.
            The network that is asked for is loaded in any case: others give way to it, those
            not used for longest first, but none that is running or pinned.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        open_runner: Callable[..., Runner] | None = None,
        budget_bytes: int | None = None,
    ) -> None:
        self.threads = threads or usable_cores()
        self.open_runner = open_runner or RunnerOpener()
        self.budget_bytes = budget_bytes or default_budget_bytes()
        self._lock = Lock()
        self._entries: dict[Hashable, _Entry[Any]] = {}
        self._networks: list[Network] = []

    def runner(self, source: Source, *, pin: bool = False) -> Loaded[Runner]:
        """The network of a verified weights file, loaded now unless it is.

        Args:
            source: the file; with its sha256 and profiles where plans may be made of it.
            pin: never let it give way to others.
        """
        key = ("runner", _source(source))
        kept = self.load(key, lambda: self._kept(_source(source), self.threads))
        network, runner = kept.value
        network.is_pinned = network.is_pinned or pin
        return Loaded(cast("Runner", runner), network.load() + kept.cold_start_ms)

    def lanes(self, source: Source, *, pin: bool = False) -> Loaded[tuple[Runner, ...]]:
        """Runners of one network that may run at the same time, each on a thread of its own.

        On a CPU as many as ``threads``: together they do more than one network of all threads,
        though each call takes longer. One alone where the device takes one call at a time.
        """
        whole = self.runner(source, pin=pin)
        if self.threads == 1 or whole.value.twin() is None:
            return Loaded((whole.value,), whole.cold_start_ms)
        kept = self.load(("lanes", _source(source)), lambda: self._kept(_source(source), 1))
        network, first = kept.value
        network.is_pinned = network.is_pinned or pin
        cold_start_ms = whole.cold_start_ms + network.load() + kept.cold_start_ms
        lanes = self.load(
            ("twins", _source(source)),
            lambda: (first, *(KeptRunner(network) for _ in range(self.threads - 1))),
        )
        return Loaded(cast("tuple[Runner, ...]", lanes.value), cold_start_ms)

    def load(self, key: Hashable, build: Callable[[], Thing]) -> Loaded[Thing]:
        """Anything costly that an engine wants to build once, e.g. a cascade or a HOG detector.

        It stays for as long as the process lives. Threads that ask at once share one building,
        and others are not held up by it.
        """
        with self._lock:
            entry = self._entries.setdefault(key, _Entry(Lock()))
        with entry.making:
            if entry.thing is not None:
                return Loaded(cast("Thing", entry.thing), 0.0)
            started = perf_counter()
            entry.thing = build()
            return Loaded(entry.thing, (perf_counter() - started) * 1000)

    @property
    def used_bytes(self) -> int:
        """What the loaded networks take together, as measured."""
        return sum(network.bytes for network in self._networks)

    def forget(self, weights: Path) -> bool:
        """Free the networks of one weights file; whether there were any. Call it between runs."""
        with self._lock:
            keys = [key for key in self._entries if _is_of(key, weights)]
            things = [self._entries.pop(key).thing for key in keys]
            gone = [part for thing in things for part in thing or () if isinstance(part, Network)]
            self._networks = [each for each in self._networks if each not in gone]
        for network in gone:
            network.close()
        give_back_freed()
        return bool(gone)

    def close(self) -> None:
        """Free every network; the next call loads again."""
        with self._lock:
            entries, self._entries = list(self._entries.values()), {}
            networks, self._networks = self._networks, []
        for network in networks:
            network.close()
        for entry in entries:
            close = getattr(entry.thing, "close", None)
            if callable(close):
                close()
        give_back_freed()

    def _kept(self, source: NetworkSource, threads: int) -> tuple[Network, KeptRunner]:
        network = Network(
            lambda: self.open_runner(source, threads=threads),
            file_bytes=source.path.stat().st_size if source.path.is_file() else 0,
            settle=self._make_room,
        )
        with self._lock:
            self._networks = [*self._networks, network]
        return network, KeptRunner(network)

    def _make_room(self, needed: Network, coming_bytes: int) -> None:
        """Free what was used least recently until the rest, and what comes, is in the budget."""
        budget_bytes = self.budget_bytes - coming_bytes
        if self.used_bytes <= budget_bytes:
            return
        others = [each for each in self._networks if each is not needed and each.bytes]
        freed = False
        for network in sorted(others, key=lambda each: each.last_used):
            freed = network.free() or freed
            if self.used_bytes <= budget_bytes:
                break
        if freed:
            give_back_freed()


def _is_of(key: Hashable, weights: Path) -> bool:
    """Whether a place in the table belongs to the networks of a file."""
    parts = key if isinstance(key, tuple) else ()
    return any(isinstance(part, NetworkSource) and part.path == weights for part in parts)


def _source(source: Source) -> NetworkSource:
    return source if isinstance(source, NetworkSource) else NetworkSource(source)
