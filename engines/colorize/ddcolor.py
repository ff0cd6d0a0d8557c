"""DDColor's contract: a grey picture in, a and b of CIE Lab out, in one network.

``input`` [n, 3, height, width]: RGB 0..1 with three equal channels (the network subtracts the mean
of ImageNet itself), sides that are multiples of 32. ``output`` [n, 2, height, width]: a and b in
Lab's own units. Any file with these shapes runs here, whatever it was trained on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.colorize.chroma import Colour
from engines.colorize.tiles import in_tiles
from engines.errors import EngineFaultError, InvalidInputError
from engines.runners.base import Runner

Floats = NDArray[np.float32]
Size = tuple[int, int]  # height, width

_PICTURE_DIMENSIONS, _COLOURS, _AXES = 3, 2, 4


def check(runner: Runner) -> None:
    """Refuse a network of other inputs and outputs; ``EngineFaultError`` ``weights_unreadable``."""
    ins, outs = runner.inputs, runner.outputs
    fits = (
        len(ins) == 1
        and len(ins[0].shape) == _AXES
        and ins[0].shape[1] in {_PICTURE_DIMENSIONS, None}
        and ins[0].dtype in (np.float32, np.float16)
        and len(outs) >= 1
        and len(outs[0].shape) == _AXES
        and outs[0].shape[1] in {_COLOURS, None}
    )
    if not fits:
        message = (
            "these weights are no DDColor: one input [n, 3, height, width] and one output "
            "[n, 2, height, width] are needed; export the checkpoint with "
            "`pixelmeter models export ddcolor`"
        )
        raise EngineFaultError(message, code="weights_unreadable")


def fitting_size(runner: Runner, wanted: Size) -> Size:
    """The size a network is run at; raises ``img_size_unsupported`` where it has a fixed other."""
    fixed = runner.inputs[0].shape[2:]
    if all(have is None or have == want for have, want in zip(fixed, wanted, strict=True)):
        return wanted
    message = (
        f"this network was exported for {fixed[0]}x{fixed[1]} only, not for "
        f"{wanted[0]}x{wanted[1]}: leave input_size out or send that"
    )
    raise InvalidInputError(message, code="img_size_unsupported")


def predict(runner: Runner, greys: Sequence[Floats], *, tile: int | None) -> list[Colour]:
    """Return a and b for neutral RGB pictures of one size, several in one run where possible.

    Args:
        runner: holds the network.
        greys: [height, width, 3] as ``chroma.neutral_grey`` makes them, equal shapes.
        tile: larger pictures run in tiles of this side, one at a time; None: whole.
    """
    if tile is not None and tile < max(greys[0].shape[:2]):
        return [in_tiles(grey, tile, lambda part: _run(runner, [part])[0]) for grey in greys]
    if runner.inputs[0].shape[0] is None:
        return _run(runner, greys)
    return [_run(runner, [grey])[0] for grey in greys]


def _run(runner: Runner, greys: Sequence[Floats]) -> list[Colour]:
    spec = runner.inputs[0]
    batch = np.stack([grey.transpose(2, 0, 1) for grey in greys]).astype(spec.dtype, copy=False)
    answer = runner.run({spec.name: np.ascontiguousarray(batch)})[runner.outputs[0].name]
    if answer.shape != (len(greys), _COLOURS, *greys[0].shape[:2]):
        message = f"the network answered {answer.shape} to {batch.shape}: these are no colours"
        raise EngineFaultError(message)
    colours = answer.astype(np.float32).transpose(0, 2, 3, 1)
    if not np.isfinite(colours).all():
        raise EngineFaultError("the network's colours are not finite numbers")
    return [np.ascontiguousarray(colour) for colour in colours]
