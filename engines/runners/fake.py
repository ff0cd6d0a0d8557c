"""A network that is a plain function: engines are tested without weights."""

from collections.abc import Callable, Mapping
from time import perf_counter

from engines.runners.base import Array, Facts, Feeds, TensorSpec
from engines.runners.network import Executed, LoadedNetwork


class FakeRunner(LoadedNetwork):
    """Wraps ``compute``; keeps every contract of a real runner, so that misuse fails here too."""

    def __init__(
        self,
        compute: Callable[[Feeds], dict[str, Array]],
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        metadata: Mapping[str, str] | None = None,
        precision: str = "fp32",
    ) -> None:
        super().__init__(
            Facts(
                kind="fake",
                provider="FakeExecutionProvider",
                precision=precision,
                device="fake",
                inputs=inputs,
                outputs=outputs,
                metadata=metadata or {},
            )
        )
        self._compute = compute
        self.calls = 0

    def _execute(self, feeds: Feeds) -> Executed:
        started = perf_counter()
        values = self._compute(feeds)
        self.calls += 1
        return Executed(values, {"execute": (perf_counter() - started) * 1000})

    def _release(self) -> None:
        """Nothing is held."""
