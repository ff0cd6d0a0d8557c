"""Draw another person's face: a crop of the target and the latent of the source give a new crop."""

import numpy as np
from numpy.typing import NDArray

from engines.faces.align.crop import Crop, crop_face
from engines.faces.face import Pixels, Points
from engines.faces.nets.batches import batch_limit, in_batches
from engines.faces.nets.boost import boost_factor, unweave, weave
from engines.faces.nets.contracts import ContractError, SwapperContract, Vectors
from engines.faces.nets.latents import LatentMaker, Latents
from engines.faces.nets.scaling import Crops, Drawn
from engines.runners.base import Runner, TensorSpec

_CROP_AXES, _LATENT_AXES, _INPUTS = 4, 2, 2


class Swapper:
    """Crops to crops with another face, by a loaded network of inswapper's form.

    Args:
        runner: the loaded network: a crop and a latent in, a crop out.
        contract: how it is fed.
        latents: makes what the network takes of raw embeddings.

    Raises:
        ContractError: the network has other inputs or outputs.
    """

    def __init__(self, runner: Runner, contract: SwapperContract, latents: LatentMaker) -> None:
        self._target, self._source = _inputs(runner, contract)
        self.runner = runner
        self.contract = contract
        self.latents = latents
        self._limit = batch_limit(self._target, self._source)

    @property
    def is_batched(self) -> bool:
        """Whether several crops in one run are possible."""
        return self._limit > 1

    def crop(self, pixels: Pixels, points: Points, *, boost: int = 1) -> Crop:
        """A face, ``boost`` times the network's size; raises ``UnusableFaceError``."""
        contract = self.contract
        return crop_face(
            pixels,
            points,
            template=contract.template,
            size=contract.size * boost,
            border=contract.border,
        )

    def latent(self, vectors: Vectors) -> Latents:
        """Latents [n, length] of raw embeddings [n, dimensions] of source persons."""
        return self.latents(vectors)

    def swap(self, crops: Crops, latents: Latents) -> Drawn:
        """New faces [n, side, side, 3] BGR 0..255, not rounded, of crops of one side.

        Args:
            crops: [n, side, side, 3] BGR; the side is a multiple of the network's, and a larger
                one is drawn in interleaved parts (``boost``).
            latents: [n, length], one for each crop.
        """
        if len(crops) != len(latents):
            raise ValueError(f"{len(crops)} crops need as many latents, not {len(latents)}")
        if not len(crops):
            return crops.astype(np.float32)
        size = self.contract.size
        factor = boost_factor(int(crops.shape[1]), size=size)
        small = unweave(crops, size=size) if factor > 1 else crops
        wanted = np.repeat(latents, factor**2, axis=0)
        drawn = in_batches(
            len(small), limit=self._limit, run=lambda part: self._run(small[part], wanted[part])
        )
        return weave(drawn, factor=factor) if factor > 1 else drawn

    def _run(self, crops: Crops, latents: Latents) -> Drawn:
        scaling = self.contract.scaling
        answer = self.runner.run(
            {
                self._target.name: scaling.feed(crops, dtype=self._target.dtype),
                self._source.name: latents.astype(self._source.dtype),
            }
        )[self.runner.outputs[0].name]
        if answer.shape != (len(crops), 3, *crops.shape[1:3]):
            raise _wrong(self.contract, f"gave {answer.shape} for {len(crops)} crops")
        return scaling.pixels(answer)


def clipped(drawn: NDArray[np.float32]) -> Crops:
    """Drawn faces as bytes, rounded."""
    return np.rint(np.clip(drawn, 0, 255)).astype(np.uint8)


def _inputs(runner: Runner, contract: SwapperContract) -> tuple[TensorSpec, TensorSpec]:
    """The crop's and the latent's input, told apart by their axes: names differ between exports."""
    crops = [each for each in runner.inputs if len(each.shape) == _CROP_AXES]
    latents = [each for each in runner.inputs if len(each.shape) == _LATENT_AXES]
    if len(runner.inputs) != _INPUTS or len(crops) != 1 or len(latents) != 1:
        raise _wrong(contract, f"take {[each.shape for each in runner.inputs]}")
    size = contract.size
    if not crops[0].accepts((crops[0].shape[0] or 1, 3, size, size)):
        raise _wrong(contract, f"take crops of {crops[0].shape}")
    if len(runner.outputs[0].shape) != _CROP_AXES:
        raise _wrong(contract, f"give {runner.outputs[0].shape}")
    return crops[0], latents[0]


def _wrong(contract: SwapperContract, what: str) -> ContractError:
    size = contract.size
    return ContractError(
        f"these weights are no {contract.name}: they {what}; a crop [n, 3, {size}, {size}] and a "
        f"latent [n, 512] in and a crop out are needed. Register the file of that contract, or "
        "name the contract of this file in the model's options"
    )
