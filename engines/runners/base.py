"""What every runner does: execute one network, arrays in, arrays out."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Feeds = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output as the network declares it."""

    name: str
    shape: tuple[int | None, ...]  # None: any length
    dtype: np.dtype[Any]

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape fits the declared one."""
        return len(shape) == len(self.shape) and all(
            declared is None or declared == length
            for declared, length in zip(self.shape, shape, strict=True)
        )


class Runner(Protocol):
    """One loaded network. A context manager: leaving it frees the memory.

    ``run`` may be called from one thread at a time. The returned arrays belong to the caller
    until the next ``run``; copy what must live longer.
    """

    @property
    def kind(self) -> str:
        """Which runner this is: onnxruntime, fake, ..."""

    @property
    def provider(self) -> str:
        """What really executes, e.g. CPUExecutionProvider."""

    @property
    def precision(self) -> str:
        """Of the network's inputs: fp32 or fp16."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the author wrote into the file."""

    @property
    def elapsed_ms(self) -> float:
        """Duration of the last ``run`` call itself, feeding and decoding excluded."""

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once; raises ``EngineFaultError`` for feeds that do not fit the network."""

    def twin(self) -> Self | None:
        """Another runner over the same loaded network, to run beside this one on another thread.

        None where the device takes one call at a time. A twin has its own ``elapsed_ms``; closing
        it leaves the others open.
        """

    def close(self) -> None:
        """Free the network; ``run`` afterwards is an error. Closing twice is not."""

    def __enter__(self) -> Self:
        """Give the runner itself."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close."""
