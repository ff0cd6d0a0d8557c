"""A network that may be freed between two runs and is loaded again when it is needed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from threading import Condition, Lock, local
from time import perf_counter
from types import TracebackType
from typing import Self

from engines.errors import EngineFaultError
from engines.memory import resident_bytes
from engines.runners.base import Array, Described, Facts, Feeds, Runner

Shapes = frozenset[tuple[str, tuple[int, ...]]]


class Network:
    """One network of the table: loaded or not, in use or not, how large it was seen to be.

    Args:
        open_runner: loads it.
        file_bytes: size of its weights, the least it takes.
        settle: called with the bytes about to be taken before a load, and with 0 after a load and
            after each use; nothing is held then.
    """

    def __init__(
        self,
        open_runner: Callable[[], Runner],
        *,
        file_bytes: int,
        settle: Callable[["Network", int], None],
    ) -> None:
        self._open_runner = open_runner
        self._file_bytes = file_bytes
        self._settle = settle
        self._loading = Lock()
        self._state = Condition()
        self._runner: Runner | None = None
        self._is_closed = False
        self._uses = 0
        self._grown = 0
        self._expected = file_bytes
        self._shapes_seen: set[Shapes] = set()
        self.facts: Facts | None = None  # of the last load
        self.loads = 0
        self.last_used = perf_counter()
        self.is_pinned = False

    def __repr__(self) -> str:
        """Say what runs it."""
        return f"<Network on {type(self._runner).__name__}>"

    @property
    def is_closed(self) -> bool:
        """Whether it cannot be loaded again."""
        return self._is_closed

    @property
    def bytes(self) -> int:
        """What it takes now; 0 while it is not loaded."""
        runner = self._runner
        if runner is None:
            return 0
        return max(self._file_bytes, self._grown) + runner.device_bytes

    def load(self) -> float:
        """Have it loaded; returns the milliseconds that took, 0 when it was."""
        with self._loading:
            with self._state:
                if self._is_closed:
                    raise EngineFaultError("this runner is closed; open another one")
                if self._runner is not None and not self._runner.is_closed:
                    return 0.0
            started = perf_counter()
            self._settle(self, self._expected)
            before = resident_bytes()
            runner = self._open_runner()
            if runner.is_closed:
                raise EngineFaultError("the network died while it was loaded; try again")
            with self._state:
                self._runner = runner
                self.facts = runner.facts
                self._grown = max(0, resident_bytes() - before)
                self._shapes_seen.clear()
                self.loads += 1
                self.last_used = perf_counter()
        self._settle(self, 0)
        return (perf_counter() - started) * 1000

    @contextmanager
    def using(self) -> Iterator[Runner]:
        """The loaded runner, which is not freed inside the block."""
        while True:
            self.load()
            with self._state:
                runner = self._runner
                if runner is not None and not runner.is_closed:  # else it gave way in between
                    self._uses += 1
                    break
        try:
            yield runner
        finally:
            with self._state:
                self._uses -= 1
                self.last_used = perf_counter()
                self._state.notify_all()
            self._settle(self, 0)

    def run(self, feeds: Feeds) -> tuple[dict[str, Array], Mapping[str, float]]:
        """Outputs and stages of one run; a shape met for the first time is watched for growth."""
        with self.using() as runner:
            shapes: Shapes = frozenset((name, array.shape) for name, array in feeds.items())
            if shapes in self._shapes_seen:
                return runner.run(feeds), runner.stages_ms
            before = resident_bytes()
            outputs = runner.run(feeds)
            with self._state:
                self._shapes_seen.add(shapes)
                self._grown += max(0, resident_bytes() - before)
            return outputs, runner.stages_ms

    def free(self) -> bool:
        """Free it unless it is in use or pinned; says whether it did."""
        with self._state:
            if self._uses or self.is_pinned or self._runner is None:
                return False
            self._expected = self.bytes
            runner, self._runner = self._runner, None
            self._grown = 0
        runner.close()
        return True

    def close(self) -> None:
        """Free it when its last run has ended; it cannot be loaded again."""
        with self._loading, self._state:
            self._is_closed = True
            self._state.wait_for(lambda: not self._uses)
            runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


class KeptRunner(Described):
    """A ``Runner`` over a network of the table; holding it keeps nothing loaded."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._last = local()

    @property
    def facts(self) -> Facts:
        """As at the last load."""
        facts = self._network.facts
        if facts is None:
            raise EngineFaultError("this network was never loaded")
        return facts

    def __repr__(self) -> str:
        """Say what runs it."""
        return f"<KeptRunner over {self._network}>"

    @property
    def is_closed(self) -> bool:
        """Whether the table was closed."""
        return self._network.is_closed

    @property
    def device_bytes(self) -> int:
        """Device memory of the network; it is counted once, by the table."""
        return 0

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Of this thread's last run."""
        return getattr(self._last, "stages_ms", {})

    @property
    def elapsed_ms(self) -> float:
        """Compute time of this thread's last run; a load before it is not in it."""
        return sum(self.stages_ms.values())

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once, loading the network first if it gave way to another."""
        outputs, self._last.stages_ms = self._network.run(feeds)
        return outputs

    def twin(self) -> "KeptRunner | None":
        """Another one over the same network, where the device takes several calls at a time."""
        with self._network.using() as runner:
            return KeptRunner(self._network) if runner.twin() is not None else None

    def close(self) -> None:
        """Nothing: the table decides."""

    def __enter__(self) -> Self:
        """Give the runner itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing: the table decides."""
