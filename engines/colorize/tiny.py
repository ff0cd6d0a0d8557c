"""The tiny colouriser: a small convolutional network, grey [n, 1, h, w] to RGB, both 0..1.

Only the colour of its answer is used.
"""

import numpy as np

from engines.colorize.chroma import Colour, UnitPixels, neutral_grey
from engines.colorize.tiles import Floats, in_tiles
from engines.runners.base import Runner


def predict(runner: Runner, small: UnitPixels, *, tile: int | None) -> Colour:
    """Return a and b of a small BGR picture 0..1; only its lightness is shown to the network.

    Args:
        runner: holds the network.
        small: [height, width, 3], sides are multiples of 32.
        tile: side of the tiles in pixels; None: the whole at once.
    """
    import cv2

    grey = neutral_grey(small)[..., :1]

    def rgb(part: Floats) -> Floats:
        answer = runner.run({runner.inputs[0].name: np.ascontiguousarray(part[None, None, ..., 0])})
        return np.asarray(answer[runner.outputs[0].name][0].transpose(1, 2, 0), np.float32)

    lab = cv2.cvtColor(np.clip(in_tiles(grey, tile, rgb), 0.0, 1.0), cv2.COLOR_RGB2LAB)
    return np.ascontiguousarray(lab[..., 1:], dtype=np.float32)
