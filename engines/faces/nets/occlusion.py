"""What lies before a face, by networks of XSeg's form: hands, hair, a microphone keep their place.

``input`` [n, 256, 256, 3] BGR 0..1, last axis colours; ``output`` [n, 256, 256, 1], 1 where the
face is seen. Contract: XSeg as FaceFusion publishes it.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.faces.nets.batches import batch_limit, in_batches
from engines.faces.nets.contracts import ContractError
from engines.faces.nets.scaling import Crops
from engines.faces.nets.soften import Masks, resized, softened
from engines.runners.base import Runner

SIZE = 256
_SHAPE = (SIZE, SIZE, 3)


class OcclusionMasks:
    """Masks of crops as they were before swapping.

    Args:
        runners: one network or several; of several a pixel counts as face only where all say so.

    Raises:
        ContractError: a network has other inputs or outputs.
    """

    def __init__(self, runners: Sequence[Runner]) -> None:
        if not runners:
            raise ValueError("at least one network sees what lies before a face")
        for runner in runners:
            _check(runner)
        self.runners = tuple(runners)

    def masks(self, crops: Crops) -> Masks:
        """Masks [n, side, side] of crops [n, side, side, 3] BGR: 1 face, 0 something before it."""
        side = int(crops.shape[1])
        if not len(crops):
            return np.zeros((0, side, side), dtype=np.float32)
        seen = np.stack([self._run(runner, crops) for runner in self.runners]).min(axis=0)
        return softened(resized(np.clip(seen, 0, 1), side=side))

    def _run(self, runner: Runner, crops: Crops) -> NDArray[np.float32]:
        spec = runner.inputs[0]
        small = resized(crops, side=SIZE).astype(spec.dtype) / np.asarray(255, spec.dtype)
        answers = in_batches(
            len(crops),
            limit=batch_limit(spec),
            run=lambda part: runner.run({spec.name: small[part]})[runner.outputs[0].name],
        )
        return answers.reshape(len(crops), SIZE, SIZE).astype(np.float32)


def _check(runner: Runner) -> None:
    given, made = runner.inputs[0], runner.outputs[0]
    fits = (
        len(runner.inputs) == 1
        and len(given.shape) == len(_SHAPE) + 1
        and given.accepts((given.shape[0] or 1, *_SHAPE))
        and made.accepts((made.shape[0] or 1, SIZE, SIZE, 1))
    )
    if not fits:
        raise ContractError(
            f"these weights are no XSeg: they take {given.shape} and give {made.shape}; one input "
            f"[n, {SIZE}, {SIZE}, 3] and one output [n, {SIZE}, {SIZE}, 1] are needed"
        )
