"""A small picture through a network piece by piece: equal overlapping tiles that melt together."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TILE_OVERLAP_PX = 32


def in_tiles(picture: Floats, tile: int | None, apply: Callable[[Floats], Floats]) -> Floats:
    """Return what ``apply`` makes of a picture, seen through tiles of at most ``tile`` x ``tile``.

    Args:
        picture: [height, width, channels].
        tile: side in pixels; None, or no smaller than the picture: the whole at once.
        apply: [height, width, channels] to [height, width, any], same height and width.
    """
    height, width = picture.shape[:2]
    if tile is None or tile >= max(height, width):
        return apply(picture)
    total = np.zeros((height, width, 1), np.float32)
    out: Floats | None = None
    for y, x, rows, columns in tiles(height, width, tile):
        part = np.s_[y : y + rows, x : x + columns]
        answer = apply(np.ascontiguousarray(picture[part]))
        weights = fade(rows, columns)
        if out is None:
            out = np.zeros((height, width, answer.shape[2]), np.float32)
        out[part] += answer * weights
        total[part] += weights
    assert out is not None  # noqa: S101 - there is at least one tile
    return out / total


def tiles(height: int, width: int, tile: int) -> Iterator[tuple[int, int, int, int]]:
    """Cover a picture with equal overlapping tiles; yields top, left, height and width."""
    rows, columns = min(tile, height), min(tile, width)
    for y in _starts(height, rows):
        for x in _starts(width, columns):
            yield y, x, rows, columns


def fade(height: int, width: int) -> Floats:
    """Weights [height, width, 1] that fall towards the rim, so that neighbours melt together."""
    down, across = _ramp(height), _ramp(width)
    return (down[:, None] * across[None, :])[..., None]


def _starts(length: int, tile: int) -> list[int]:
    if tile >= length:
        return [0]
    count = -(-(length - TILE_OVERLAP_PX) // (tile - TILE_OVERLAP_PX))
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def _ramp(side: int) -> Floats:
    ramp = np.minimum(np.arange(1, side + 1), np.arange(side, 0, -1))
    return np.minimum(ramp, TILE_OVERLAP_PX).astype(np.float32)
