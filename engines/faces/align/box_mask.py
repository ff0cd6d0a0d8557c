"""The plain mask of a crop: whole inside, soft towards its edges."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.float32]  # [size, size]; 0 keeps the target, 1 shows the new face

BLUR = 0.3


@dataclass(frozen=True, slots=True)
class Padding:
    """What is left out at each side, in percent of the crop's side."""

    top: float = 0.0
    right: float = 0.0
    bottom: float = 0.0
    left: float = 0.0


def box_mask(size: int, *, blur: float = BLUR, padding: Padding | None = None) -> Mask:
    """A mask [size, size] that falls to nearly 0 at the edges.

    Args:
        size: side of the crop in pixels.
        blur: how soft the edges are, 0 (two hard steps) to 1 (half of the crop).
        padding: further room at the sides.
    """
    if not 0 <= blur <= 1:
        raise ValueError(f"blur is a share from 0 to 1, not {blur}")
    room = padding or Padding()
    reach = int(size * 0.5 * blur)
    least = max(reach // 2, 1)
    top, right, bottom, left = (
        max(least, int(size * each / 100))
        for each in (room.top, room.right, room.bottom, room.left)
    )
    # a box and its blur are the same in each row and in each column: two lines make them
    down, across = _line(size, top, bottom, reach), _line(size, left, right, reach)
    return np.asarray(np.outer(down, across), dtype=np.float32)


def _line(size: int, start: int, end: int, reach: int) -> Mask:
    import cv2

    line = np.zeros((1, size), dtype=np.float32)
    line[0, start : size - end] = 1.0
    whole = line if reach == 0 else cv2.GaussianBlur(line, (0, 0), 0.25 * reach)
    return np.asarray(whole[0], dtype=np.float32)
