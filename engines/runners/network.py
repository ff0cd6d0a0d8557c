"""What all runners share: checked feeds, checked outputs, times per thread, closing."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import local
from types import TracebackType
from typing import Self

import numpy as np

from engines.errors import EngineFaultError
from engines.runners.base import Array, Described, Facts, Feeds
from engines.runners.feeds import check_feeds


class NotANumberError(EngineFaultError):
    """Raised when a network's output has NaN in it; it would again."""

    code = "network_output_invalid"
    retryable = False


@dataclass(frozen=True, slots=True)
class Executed:
    """What one execution gave and how long it computed."""

    outputs: dict[str, Array]
    stages_ms: Mapping[str, float]  # upload, execute, download; waiting is in none


class LoadedNetwork(Described):
    """A ``Runner`` but for the executing itself, which a subclass adds."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._is_closed = False
        self._last = local()

    @abstractmethod
    def _execute(self, feeds: Feeds) -> Executed:
        """Run checked feeds; called from several threads."""

    @abstractmethod
    def _release(self) -> None:
        """Free everything; called once."""

    @property
    def facts(self) -> Facts:
        """What it is; stays readable after closing."""
        return self._facts

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._is_closed

    @property
    def device_bytes(self) -> int:
        """None of the device: the network lives in host memory."""
        return 0

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Of this thread's last run; empty before the first."""
        return getattr(self._last, "stages_ms", {})

    @property
    def elapsed_ms(self) -> float:
        """Compute time of this thread's last run."""
        return sum(self.stages_ms.values())

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; the returned arrays belong to the caller."""
        if self._is_closed:
            raise EngineFaultError("this runner is closed; open another one")
        check_feeds(self.inputs, feeds)
        executed = self._execute(feeds)
        self._last.stages_ms = executed.stages_ms
        for name, array in executed.outputs.items():
            refuse_nan(name, array)
        return executed.outputs

    def twin(self) -> Self | None:
        """None: the device takes one call at a time."""
        return None

    def close(self) -> None:
        """Free the network."""
        if not self._is_closed:
            self._is_closed = True
            self._release()

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


def with_tf32(facts: Facts) -> Facts:
    """Facts of a network that computes fp32 in TF32; what computes in fp16 stays that."""
    return replace(facts, precision="tf32") if facts.precision == "fp32" else facts


def refuse_nan(name: str, array: Array) -> None:
    """Raise ``NotANumberError`` when a float output has NaN."""
    if array.dtype.kind != "f" or array.size == 0:
        return
    # A NaN survives a sum, and one sum costs a tenth of asking every number.
    with np.errstate(all="ignore"):
        total = array.sum(dtype=np.float64 if array.dtype == np.float64 else np.float32)
    if np.isfinite(total) or not np.isnan(array).any():
        return
    message = (
        f"the network's output {name} is not a number in {int(np.isnan(array).sum())} places; its "
        "weights are damaged or were converted to a precision they do not bear"
    )
    raise NotANumberError(message)
