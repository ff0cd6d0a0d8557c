"""How swappers are told whose face to draw: raw embeddings become the latents they know."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.faces.nets.contracts import ContractError, Vectors
from engines.faces.nets.emap import Emap
from engines.faces.nets.embedder import unit
from engines.runners.base import Runner

Latents = NDArray[np.float32]  # [n, 512]

_AXES = 2


class LatentMaker(Protocol):
    """Makes latents of raw embeddings."""

    def __call__(self, vectors: Vectors) -> Latents:
        """Latents [n, length] of raw embeddings [n, dimensions]."""


@dataclass(frozen=True, slots=True, eq=False)
class EmapLatents:
    """inswapper: the unit embedding times the matrix, and unit again, as InsightFace does."""

    emap: Emap

    def __call__(self, vectors: Vectors) -> Latents:
        """Latents of length 1."""
        return unit(unit(vectors) @ self.emap)


@dataclass(frozen=True, slots=True)
class UnitLatents:
    """HyperSwap: the unit embedding itself."""

    def __call__(self, vectors: Vectors) -> Latents:
        """Latents of length 1."""
        return unit(vectors)


class ConvertedLatents:
    """GHOST: a small network makes its latents of raw ArcFace embeddings; the length stays."""

    def __init__(self, runner: Runner) -> None:
        ins, outs = runner.inputs, runner.outputs
        if len(ins) != 1 or len(ins[0].shape) != _AXES or len(outs[0].shape) != _AXES:
            raise ContractError(
                "these weights convert no embeddings: one input [n, 512] and one output [n, 512] "
                "are needed, as crossface_ghost.onnx has them"
            )
        self.runner = runner

    def __call__(self, vectors: Vectors) -> Latents:
        """Latents as the network gives them, one run for each: there is one per person."""
        name, dtype = self.runner.inputs[0].name, self.runner.inputs[0].dtype
        answers = [
            self.runner.run({name: vector[None].astype(dtype)})[self.runner.outputs[0].name]
            for vector in vectors
        ]
        return np.concatenate(answers).astype(np.float32)
