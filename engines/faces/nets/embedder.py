"""Tell people apart: a face becomes a vector, and the angle of two says whether it is one person.

Embeddings are kept raw, as the network gives them: averages of several photographs and some
swappers want the length too. ``unit`` makes them comparable.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.faces.align.crop import Crop, crop_face, stacked
from engines.faces.face import Face, Pixels, Points
from engines.faces.geometry import UnusableFaceError
from engines.faces.nets.batches import batch_limit, in_batches
from engines.faces.nets.contracts import ContractError, EmbedderContract, Vectors
from engines.faces.nets.scaling import Crops
from engines.runners.base import Runner

Vector = NDArray[np.float32]  # [dimensions]

_CROP_AXES, _VECTOR_AXES = 4, 2
# Shorter than this a vector has no direction: the face was black, or the weights are damaged.
LENGTH_MIN = 1e-6


class Embedder:
    """Faces to raw vectors, by a loaded network of an ArcFace form.

    Args:
        runner: the loaded network.
        contract: how it is fed.
        name: ``name@version``, as caches and results tell it; vectors of two names have nothing
            to do with each other.

    Raises:
        ContractError: the network has other inputs or outputs.
    """

    def __init__(self, runner: Runner, contract: EmbedderContract, *, name: str) -> None:
        _check(runner, contract)
        self.runner = runner
        self.contract = contract
        self.name = name
        self._input = runner.inputs[0]
        self._limit = batch_limit(self._input)

    def crop(self, pixels: Pixels, points: Points) -> Crop:
        """One face as the network wants it; raises ``UnusableFaceError``."""
        contract = self.contract
        return crop_face(pixels, points, template=contract.template, size=contract.size)

    def embed(self, pixels: Pixels, faces: Sequence[Face]) -> Vectors:
        """Raw vectors [n, dimensions] of several faces of one picture.

        Raises:
            UnusableFaceError: a face's points fix no position.
        """
        crops = [self.crop(pixels, face.points) for face in faces]
        size = self.contract.size
        return self.embed_crops(stacked(crops) if crops else np.zeros((0, size, size, 3), np.uint8))

    def embed_crops(self, crops: Crops) -> Vectors:
        """Raw vectors [n, dimensions] of crops [n, size, size, 3] BGR, of any pictures."""
        if not len(crops):
            return np.zeros((0, self.contract.dimensions), dtype=np.float32)
        return in_batches(len(crops), limit=self._limit, run=lambda part: self._run(crops[part]))

    def _run(self, crops: Crops) -> Vectors:
        feed = self.contract.scaling.feed(crops, dtype=self._input.dtype)
        answer = self.runner.run({self._input.name: feed})[self.runner.outputs[0].name]
        if answer.shape != (len(crops), self.contract.dimensions):
            raise _wrong(self.contract, f"gave {answer.shape} for {len(crops)} crops")
        return answer.astype(np.float32)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors [..., dimensions] of length 1.

    Raises:
        UnusableFaceError: a vector has no length, so it names nobody.
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if not (lengths > LENGTH_MIN).all():
        raise UnusableFaceError(
            "a face says nothing about its person; use a brighter, sharper picture"
        )
    return np.asarray(vectors / lengths, dtype=np.float32)


def average(vectors: Vectors) -> Vector:
    """One raw vector [dimensions] of several photographs of one person: the mean of raw ones."""
    if not len(vectors):
        raise ValueError("there is no average of no faces")
    return np.asarray(vectors.mean(axis=0), dtype=np.float32)


def _check(runner: Runner, contract: EmbedderContract) -> None:
    ins, outs = runner.inputs, runner.outputs
    size = contract.size
    if len(ins) != 1 or not outs or len(outs[0].shape) != _VECTOR_AXES:
        raise _wrong(contract, f"have {len(ins)} inputs and {[each.shape for each in outs]}")
    given = ins[0].shape
    if len(given) != _CROP_AXES or not ins[0].accepts((given[0] or 1, 3, size, size)):
        raise _wrong(contract, f"take {given}")
    if outs[0].shape[1] not in {None, contract.dimensions}:
        raise _wrong(contract, f"give vectors of {outs[0].shape[1]} numbers")


def _wrong(contract: EmbedderContract, what: str) -> ContractError:
    size = contract.size
    return ContractError(
        f"these weights are no {contract.name}: they {what}; one input [n, 3, {size}, {size}] and "
        f"one output [n, {contract.dimensions}] are needed. Register the file of that contract, or "
        "name the contract of this file in the model's options"
    )
