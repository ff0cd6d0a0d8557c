"""The tiny colouriser: a small convolutional network, grey [n, 1, h, w] to RGB, both 0..1.

Only the colour of its answer is used. It runs on a square picture; a square larger than the tile is
run in overlapping tiles, which bounds the memory of the network.
"""

from collections.abc import Iterator

import numpy as np

from engines.colorize.chroma import Colour, Light, Pixels, lightness
from engines.runners.base import Runner

TILE_OVERLAP_PX = 32


def predict(runner: Runner, pixels: Pixels, *, size: int, tile: int | None) -> tuple[Light, Colour]:
    """Return lightness and colour of a picture at ``size`` x ``size``, proportions not kept.

    Args:
        runner: holds the network.
        pixels: BGR picture; only its lightness counts.
        size: side of the square in pixels, a multiple of 32.
        tile: side of the tiles in pixels; None: the whole square at once.
    """
    import cv2

    shrinking = min(pixels.shape[:2]) > size
    method = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    light = lightness(np.asarray(cv2.resize(pixels, (size, size), interpolation=method), np.uint8))
    neutral = np.dstack([light, np.zeros((size, size, 2), np.float32)])
    grey = cv2.cvtColor(neutral, cv2.COLOR_LAB2RGB)[..., 0]
    rgb = np.zeros((size, size, 3), np.float32)
    total = np.zeros((size, size, 1), np.float32)
    for y, x, side in tiles(size, tile or size):
        part = np.s_[y : y + side, x : x + side]
        answer = runner.run({runner.inputs[0].name: np.ascontiguousarray(grey[part])[None, None]})
        weights = _fade(side)
        rgb[part] += answer[runner.outputs[0].name][0].transpose(1, 2, 0) * weights
        total[part] += weights
    lab = cv2.cvtColor(np.clip(rgb / total, 0.0, 1.0), cv2.COLOR_RGB2LAB)
    return light, np.ascontiguousarray(lab[..., 1:], dtype=np.float32)


def tiles(size: int, tile: int) -> Iterator[tuple[int, int, int]]:
    """Cover a square with equal overlapping tiles; yields top, left and side."""
    if tile >= size:
        yield 0, 0, size
        return
    count = -(-(size - TILE_OVERLAP_PX) // (tile - TILE_OVERLAP_PX))
    starts = [round(number * (size - tile) / (count - 1)) for number in range(count)]
    yield from ((y, x, tile) for y in starts for x in starts)


def _fade(side: int) -> Light:
    """Weights that fall towards the rim of a tile, so that neighbours melt together."""
    ramp = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1))
    ramp = np.minimum(ramp, TILE_OVERLAP_PX).astype(np.float32)
    return (ramp[:, None] * ramp[None, :])[..., None]
