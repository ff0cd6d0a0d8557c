"""Sharpen a face: a restorer draws its crop anew, an enlarger makes the crop itself larger."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.faces.align.crop import Crop, crop_face
from engines.faces.face import Pixels, Points
from engines.faces.geometry import Affine, enlarged
from engines.faces.nets.batches import batch_limit, in_batches
from engines.faces.nets.contracts import ContractError, EnhancerContract
from engines.faces.nets.scaling import Drawn
from engines.runners.base import Runner, TensorSpec

# Share of the enhanced face in the result where nobody says otherwise.
BLEND = 0.8
# What CodeFormer and its kin are told: 0 is the most beautiful, 1 the most faithful.
FIDELITY = 0.5

_CROP_AXES = 4


class Enhancer:
    """Crops to sharper crops, ``contract.factor`` times as large.

    Args:
        runner: the loaded network; a second input of one number is its fidelity.
        contract: how it is fed.
        fidelity: for networks that want to be told.

    Raises:
        ContractError: the network has other inputs or outputs.
    """

    def __init__(
        self, runner: Runner, contract: EnhancerContract, *, fidelity: float = FIDELITY
    ) -> None:
        self._input, self._fidelity = _inputs(runner, contract)
        self.runner = runner
        self.contract = contract
        self._told = fidelity
        self._limit = batch_limit(self._input)

    def crop(self, pixels: Pixels, points: Points) -> Crop:
        """A face as the network wants it; raises ``UnusableFaceError``."""
        contract = self.contract
        return crop_face(
            pixels,
            points,
            template=contract.template,
            size=contract.size,
            border=contract.border,
        )

    def enhance(self, crops: NDArray[Any]) -> Drawn:
        """Enhanced crops [n, factor * side, factor * side, 3] BGR 0..255, not rounded.

        Args:
            crops: [n, side, side, 3] BGR 0..255, bytes or floats; a restorer takes its own size
                only, an enlarger any.
        """
        if not len(crops):
            return np.asarray(crops, dtype=np.float32)
        return in_batches(len(crops), limit=self._limit, run=lambda part: self._run(crops[part]))

    def matrix(self, crop_matrix: Affine) -> Affine:
        """From the picture to an enhanced crop, of the matrix to the crop it was given."""
        return enlarged(crop_matrix, self.contract.factor)

    def _run(self, crops: NDArray[Any]) -> Drawn:
        contract = self.contract
        feeds = {self._input.name: contract.scaling.feed(crops, dtype=self._input.dtype)}
        if self._fidelity is not None:
            feeds[self._fidelity.name] = np.full(1, self._told, dtype=self._fidelity.dtype)
        answer = self.runner.run(feeds)[self.runner.outputs[0].name]
        sides = tuple(side * contract.factor for side in crops.shape[1:3])
        if answer.shape != (len(crops), 3, *sides):
            raise _wrong(contract, f"gave {answer.shape} for crops of {crops.shape[1:3]}")
        return contract.scaling.pixels(answer)


def _inputs(runner: Runner, contract: EnhancerContract) -> tuple[TensorSpec, TensorSpec | None]:
    pictures = [each for each in runner.inputs if len(each.shape) == _CROP_AXES]
    told = [each for each in runner.inputs if len(each.shape) == 1]
    if len(pictures) != 1 or len(pictures) + len(told) != len(runner.inputs):
        raise _wrong(contract, f"take {[each.shape for each in runner.inputs]}")
    size = contract.size
    if not pictures[0].accepts((pictures[0].shape[0] or 1, 3, size, size)):
        raise _wrong(contract, f"take crops of {pictures[0].shape}")
    return pictures[0], told[0] if told else None


def _wrong(contract: EnhancerContract, what: str) -> ContractError:
    size, factor = contract.size, contract.factor
    return ContractError(
        f"these weights are no {contract.name}: they {what}; a crop [n, 3, {size}, {size}] in and "
        f"one of {size * factor} x {size * factor} out are needed. Register the file of that "
        "contract, or name the contract of this file in the model's options"
    )
