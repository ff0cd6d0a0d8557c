"""More pixels from a swapper of few: a large crop is drawn as several interleaved small ones.

Every k-th pixel of a crop k times as large is a small crop of the same face, shifted by less than
one of its own pixels. The network draws all k * k of them, and woven together they are the large
face. It costs k * k runs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def unweave(crops: NDArray[Any], *, size: int) -> NDArray[Any]:
    """Large crops [n, k * size, k * size, c] as small ones [n * k * k, size, size, c]."""
    count, side, _, channels = crops.shape
    factor = boost_factor(side, size=size)
    cells = crops.reshape(count, size, factor, size, factor, channels)
    return np.ascontiguousarray(
        cells.transpose(0, 2, 4, 1, 3, 5).reshape(count * factor**2, size, size, channels)
    )


def weave(crops: NDArray[Any], *, factor: int) -> NDArray[Any]:
    """The way back: [n * k * k, size, size, c] to [n, k * size, k * size, c]."""
    count, size, _, channels = crops.shape
    cells = crops.reshape(count // factor**2, factor, factor, size, size, channels)
    side = size * factor
    return np.ascontiguousarray(
        cells.transpose(0, 3, 1, 4, 2, 5).reshape(count // factor**2, side, side, channels)
    )


def boost_factor(side: int, *, size: int) -> int:
    """How many times ``size`` a side is; raises ``ValueError`` where it is no multiple."""
    if side % size or side < size:
        raise ValueError(f"a crop of {side} pixels is no multiple of the network's {size}")
    return side // size
