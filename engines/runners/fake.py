"""A network that is a plain function: engines are tested without weights."""

from collections.abc import Callable, Mapping
from time import perf_counter
from types import TracebackType
from typing import Self

from engines.errors import EngineFaultError
from engines.runners.base import Array, Feeds, TensorSpec
from engines.runners.feeds import check_feeds


class FakeRunner:
    """Wraps ``compute``; keeps every contract of a real runner, so that misuse fails here too."""

    kind = "fake"
    provider = "FakeExecutionProvider"
    precision = "fp32"

    def __init__(
        self,
        compute: Callable[[Feeds], dict[str, Array]],
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        self._compute: Callable[[Feeds], dict[str, Array]] | None = compute
        self.inputs = inputs
        self.outputs = outputs
        self.metadata: Mapping[str, str] = metadata or {}
        self.elapsed_ms = 0.0
        self.calls = 0

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Call the function on checked feeds."""
        if self._compute is None:
            raise EngineFaultError("this runner is closed; open another one")
        check_feeds(self.inputs, feeds)
        started = perf_counter()
        values = self._compute(feeds)
        self.elapsed_ms = (perf_counter() - started) * 1000
        self.calls += 1
        return values

    def twin(self) -> "FakeRunner | None":
        """None: the function is called from one thread at a time."""
        return None

    def close(self) -> None:
        """Forget the function."""
        self._compute = None

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
