"""A network with another in reserve: half precision where it works, full where it does not."""

import logging
from collections.abc import Callable, Mapping
from threading import Lock
from types import TracebackType
from typing import Self

import numpy as np

from engines.runners.base import Array, Described, Facts, Feeds, Runner
from engines.runners.network import NotANumberError

log = logging.getLogger(__name__)


class ReserveRunner(Described):
    """A ``Runner`` that goes over to its reserve when it gives no numbers, and says so.

    From then on only the reserve runs: what failed once fails again. ``switched`` names both for
    whoever reports, and usage reports name the precision that really ran, because ``facts`` are
    those of the network in use.

    Args:
        preferred: runs until it gives NaN or infinity.
        open_reserve: loads the other; called at most once.
        name: of the preferred weights, as people know them.
        reserve: of the other weights.
    """

    def __init__(
        self,
        preferred: Runner,
        open_reserve: Callable[[], Runner],
        *,
        name: str,
        reserve: str,
    ) -> None:
        self._current = preferred
        self._preferred = preferred
        self._open_reserve = open_reserve
        self._names = (name, reserve)
        self._switching = Lock()
        self.switched: str | None = None  # a sentence, once the reserve runs

    @property
    def facts(self) -> Facts:
        """Of the network in use."""
        return self._current.facts

    @property
    def is_closed(self) -> bool:
        """Whether the network in use is."""
        return self._current.is_closed

    @property
    def device_bytes(self) -> int:
        """Of the network in use."""
        return self._current.device_bytes

    @property
    def elapsed_ms(self) -> float:
        """Of the run that gave the answer; a failed one before it is in no time."""
        return self._current.elapsed_ms

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Of the run that gave the answer."""
        return self._current.stages_ms

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute; on NaN or infinity once more on the reserve, whose own NaN is an error."""
        if self.switched is None:
            try:
                outputs = self._current.run(feeds)
            except NotANumberError:
                self._switch()
            else:
                if all(_is_finite(array) for array in outputs.values()):
                    return outputs
                self._switch()
        return self._current.run(feeds)

    def twin(self) -> None:
        """None: lanes would switch one by one; make a ``ReserveRunner`` for each."""
        return

    def close(self) -> None:
        """Free both."""
        self._preferred.close()
        self._current.close()

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

    def _switch(self) -> None:
        with self._switching:
            if self.switched is None:
                self._current = self._open_reserve()
                name, reserve = self._names
                self.switched = f"{name} gave no numbers here; {reserve} was used instead"
                log.warning("%s", self.switched)


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())
