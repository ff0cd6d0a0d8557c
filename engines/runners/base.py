"""What every runner does: execute one network, arrays in, arrays out."""

from abc import ABC, abstractmethod
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


@dataclass(frozen=True, slots=True)
class Facts:
    """What a loaded network is and where it runs; it goes into the usage report."""

    kind: str  # onnxruntime | openvino | tensorrt | tensorrt-rtx | fake
    provider: str  # what really executes, e.g. CPUExecutionProvider
    precision: str  # of the arithmetic: fp32 | fp16 | bf16
    device: str  # cpu:AMD EPYC 7B13 or cuda:0 NVIDIA L4
    inputs: tuple[TensorSpec, ...]  # in the order of the network
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str]  # what the author wrote into the file
    plan: str | None = None  # the TensorRT plan, by the first digits of its key


class Described(ABC):
    """Answers what a ``Runner`` is from its ``facts``."""

    @property
    @abstractmethod
    def facts(self) -> Facts:
        """What it is; stays readable after closing."""

    @property
    def kind(self) -> str:
        """Which runner this is."""
        return self.facts.kind

    @property
    def provider(self) -> str:
        """What really executes."""
        return self.facts.provider

    @property
    def precision(self) -> str:
        """Of the arithmetic."""
        return self.facts.precision

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network."""
        return self.facts.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """In the order of the network."""
        return self.facts.outputs

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the author wrote into the file."""
        return self.facts.metadata


class Runner(Protocol):
    """One loaded network. A context manager: leaving it frees the memory.

    ``run`` may be called from several threads; where the device takes one at a time they wait for
    each other, and the wait is in nobody's time. Arrays given back belong to the caller.
    """

    @property
    def facts(self) -> Facts:
        """What it is; stays readable after closing."""

    @property
    def kind(self) -> str:
        """Which runner this is: onnxruntime, fake, ..."""

    @property
    def provider(self) -> str:
        """What really executes, e.g. CPUExecutionProvider."""

    @property
    def precision(self) -> str:
        """Of the arithmetic: fp32 or fp16."""

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
    def is_closed(self) -> bool:
        """Whether ``run`` is an error from now on: it was closed, or what ran it died."""

    @property
    def device_bytes(self) -> int:
        """Device memory it was seen to take; 0 where networks live in host memory."""

    @property
    def elapsed_ms(self) -> float:
        """Compute time of this thread's last ``run``: the sum of its ``stages_ms``."""

    @property
    def stages_ms(self) -> Mapping[str, float]:
        """Of this thread's last ``run``.

        On a GPU upload, execute and download between CUDA events; on a CPU execute alone, the
        time of the run call itself.
        """

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Execute once.

        Raises:
            EngineFaultError: feeds that do not fit the network, or, with the code
                ``network_output_invalid``, an output with NaN in it.
            ExhaustedError: too little memory.
        """

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
