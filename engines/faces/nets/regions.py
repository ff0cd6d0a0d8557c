"""The parts of a face, by networks of BiSeNet's form: skin, eyes, mouth, and what is none of them.

``input`` [n, 3, 512, 512] RGB, normalised as ImageNet; the first output [n, 19, 512, 512] says how
much each pixel is of each class. Contract: yakhyo/face-parsing.
"""

from collections.abc import Collection
from enum import IntEnum

import numpy as np

from engines.faces.nets.batches import batch_limit, in_batches
from engines.faces.nets.contracts import ContractError
from engines.faces.nets.scaling import Colour, Crops, Scaling
from engines.faces.nets.soften import Masks, resized, softened
from engines.runners.base import Runner

SIZE, CLASSES = 512, 19
SCALING = Scaling(Colour.RGB, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


class Region(IntEnum):
    """A class of the network; what is not here is background, hair, ears, neck or cloth."""

    SKIN = 1
    LEFT_BROW = 2
    RIGHT_BROW = 3
    LEFT_EYE = 4
    RIGHT_EYE = 5
    GLASSES = 6
    NOSE = 10
    MOUTH = 11
    UPPER_LIP = 12
    LOWER_LIP = 13


class RegionMasks:
    """Masks of crops after swapping: what is face in the new face.

    Args:
        runner: the loaded network.
        regions: what belongs to the face; all that are known by default.

    Raises:
        ContractError: the network has other inputs or outputs.
    """

    def __init__(self, runner: Runner, regions: Collection[Region] = tuple(Region)) -> None:
        _check(runner)
        if not regions:
            raise ValueError("a mask of no region shows nothing; name one")
        self.runner = runner
        self.regions = tuple(regions)

    def masks(self, crops: Crops) -> Masks:
        """Masks [n, side, side] of crops [n, side, side, 3] BGR: 1 in the regions."""
        side = int(crops.shape[1])
        if not len(crops):
            return np.zeros((0, side, side), dtype=np.float32)
        limit = batch_limit(self.runner.inputs[0])
        inside = in_batches(len(crops), limit=limit, run=lambda part: self._run(crops[part]))
        return softened(resized(inside, side=side))

    def _run(self, crops: Crops) -> Masks:
        spec = self.runner.inputs[0]
        feed = SCALING.feed(resized(crops, side=SIZE), dtype=spec.dtype)
        answer = self.runner.run({spec.name: feed})[self.runner.outputs[0].name]
        return np.isin(answer.argmax(axis=1), self.regions).astype(np.float32)


def _check(runner: Runner) -> None:
    given, made = runner.inputs[0], runner.outputs[0]
    fits = (
        len(runner.inputs) == 1
        and given.accepts((given.shape[0] or 1, 3, SIZE, SIZE))
        and made.accepts((made.shape[0] or 1, CLASSES, SIZE, SIZE))
    )
    if not fits:
        raise ContractError(
            f"these weights are no BiSeNet for faces: they take {given.shape} and give "
            f"{made.shape}; one input [n, 3, {SIZE}, {SIZE}] and a first output "
            f"[n, {CLASSES}, {SIZE}, {SIZE}] are needed"
        )
