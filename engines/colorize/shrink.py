"""The small picture that a model looks at, made from rows of any number.

The result is what OpenCV's ``resize`` gives for the whole picture at once; of a large picture only
a few rows are in memory, and rows of the small one are weighted sums of them.
"""

from collections.abc import Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.colorize.chroma import UnitPixels, unit
from engines.media.rows import Rows

WHOLE_PIXELS = 4_000_000  # pictures up to this size are resized in one go
STRIP_PIXELS = 2_000_000


class Method(StrEnum):
    """How pixels become fewer."""

    BILINEAR = "bilinear"  # of the two nearest per axis, however many lie between; DDColor's
    AREA = "area"  # mean of all that a pixel covers


def shrink(rows: Rows, *, height: int, width: int, method: Method) -> UnitPixels:
    """Return the picture at another size, proportions not kept.

    Args:
        rows: of the picture.
        height: of the result; may be larger than the picture's.
        width: of the result.
        method: bilinear also where the result is larger.
    """
    import cv2

    flag = cv2.INTER_AREA if method is Method.AREA else cv2.INTER_LINEAR
    if rows.height * rows.width <= WHOLE_PIXELS:
        whole = unit(rows.read(0, rows.height))
        return np.asarray(cv2.resize(whole, (width, height), interpolation=flag), np.float32)
    small = np.zeros((height, width * 3), np.float32)
    count = max(1, STRIP_PIXELS // rows.width)
    for top in range(0, rows.height, count):
        strip = unit(rows.read(top, count))
        narrow = cv2.resize(strip, (width, len(strip)), interpolation=flag)
        first, weights = _weights(top, len(strip), of=rows.height, to=height, method=method)
        small[first : first + len(weights)] += weights @ narrow.reshape(len(strip), -1)
    return small.reshape(height, width, 3)


def strips(height: int, width: int) -> Iterator[tuple[int, int]]:
    """Cover a picture with strips of about ``STRIP_PIXELS``; yields top and number of rows."""
    count = max(1, STRIP_PIXELS // width)
    for top in range(0, height, count):
        yield top, min(count, height - top)


def _weights(
    top: int, count: int, *, of: int, to: int, method: Method
) -> tuple[int, NDArray[np.float32]]:
    """How much of each row of a strip goes into which row of the result.

    Returns:
        The first row of the result that the strip takes part in, and [rows of result, count].
    """
    step = of / to
    if method is Method.AREA and step > 1:
        starts = np.arange(to) * step
        first = np.searchsorted(starts + step, top, side="right")
        last = np.searchsorted(starts, top + count, side="left")
        source = np.arange(top, top + count)
        left = np.maximum(source[None], starts[first:last, None])
        right = np.minimum(source[None] + 1, starts[first:last, None] + step)
        return int(first), (np.maximum(0, right - left) / step).astype(np.float32)
    at = np.clip((np.arange(to) + 0.5) * step - 0.5, 0, of - 1)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, of - 1)
    touched = np.flatnonzero((high >= top) & (low < top + count))
    if not touched.size:
        return 0, np.zeros((0, count), np.float32)
    first, last = touched[0], touched[-1] + 1
    weights = np.zeros((last - first, count), np.float32)
    for source, share in ((low, 1 - (at - low)), (high, at - low)):
        for row in range(first, last):
            if top <= source[row] < top + count:
                weights[row - first, source[row] - top] += np.float32(share[row])
    return int(first), weights
