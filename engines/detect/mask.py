"""Which pixels an object covers: as bits, as COCO's run lengths, as outlines."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.bool_]

_BITS, _MORE, _SIGN, _ASCII = 5, 0x20, 0x10, 48
_CORNERS_MIN = 3
_DIFFERENCES_FROM = 3  # COCO's own reader knows no earlier ones


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Which pixels an object covers; all of them lie in one window."""

    size: tuple[int, int]  # height, width of what it is a mask of
    top: int
    left: int
    bits: Bits  # [rows, columns] of the window

    def whole(self) -> Bits:
        """Every pixel, [height, width]."""
        whole = np.zeros(self.size, dtype=np.bool_)
        rows, columns = self.bits.shape
        whole[self.top : self.top + rows, self.left : self.left + columns] = self.bits
        return whole


def coco_rle(mask: Mask) -> dict[str, Any]:
    """``{"size": [height, width], "counts": "..."}`` as COCO's own tools write and read it."""
    return {"size": list(mask.size), "counts": compress(run_lengths(mask))}


def run_lengths(mask: Mask) -> list[int]:
    """Pixels off, on, off, ... down the columns, from left to right; the first may be 0."""
    height, width = mask.size
    columns = np.zeros((mask.bits.shape[1], mask.bits.shape[0] + 2), dtype=np.int8)
    columns[:, 1:-1] = mask.bits.T
    column, row = np.nonzero(np.diff(columns, axis=1))
    edges = (column + mask.left) * height + row + mask.top
    # a run that ends at the bottom and goes on at the top of the next column is one run
    ends, begins = edges[1::2], edges[::2]
    joined = np.flatnonzero(ends[:-1] == begins[1:])
    edges = np.delete(edges, np.concatenate([2 * joined + 1, 2 * joined + 2]))
    bounds = [0, *edges.tolist()]
    lengths = [after - before for before, after in pairwise(bounds)]
    rest = height * width - bounds[-1]
    return [*lengths, rest] if rest or not lengths else lengths


def compress(lengths: list[int]) -> str:
    """Each length less the one two before it, in groups of five bits, lowest first."""
    text: list[str] = []
    for index, length in enumerate(lengths):
        value = length - lengths[index - 2] if index >= _DIFFERENCES_FROM else length
        while True:
            bits, value = value & 0x1F, value >> _BITS
            done = value == (-1 if bits & _SIGN else 0)
            text.append(chr((bits if done else bits | _MORE) + _ASCII))
            if done:
                break
    return "".join(text)


def outlines(mask: Mask) -> list[NDArray[np.int64]]:
    """Outer outlines, [points, 2] as x y, the one around the most pixels first."""
    import cv2

    contours, _ = cv2.findContours(
        mask.bits.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    shapes = [np.asarray(each).reshape(-1, 2).astype(np.int64) for each in contours]
    large = [each for each in shapes if len(each) >= _CORNERS_MIN]
    large.sort(key=lambda each: -float(cv2.contourArea(each.astype(np.int32))))
    return [each + np.array([mask.left, mask.top]) for each in large]
