"""Masks of objects: from a network's prototypes to pixels of the picture or of its canvas.

A mask is a weighted sum of prototypes. It is magnified bilinearly, cut at zero and cropped to the
box, in that order: cropped first, the edges of the box would smear.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

import numpy as np

from engines.detect.detection import Floats
from engines.detect.head import check_numbers
from engines.detect.letterbox import Fit
from engines.detect.mask import Mask

_STRIDE = 4  # canvas pixels per prototype pixel


def masks_of(
    coefficients: Floats, prototypes: Floats, boxes: Floats, fit: Fit, *, of_picture: bool
) -> Iterator[Mask]:
    """A mask for each row of ``coefficients``, possibly empty; made one at a time.

    Args:
        coefficients: [n, c].
        prototypes: [c, rows, columns], a quarter of the canvas.
        boxes: [n, 4] in pixels of the picture, or of the canvas if not ``of_picture``.
        fit: where the picture lies on the canvas.
        of_picture: masks of the picture; else of the canvas, grey borders included.
    """
    grid = (prototypes.shape[1], prototypes.shape[2])
    scale = _onto_picture(fit, grid) if of_picture else _onto_canvas(fit, grid)
    flat = prototypes.reshape(len(prototypes), -1)
    for row, box in zip(coefficients, boxes, strict=True):
        sums = (row @ flat).reshape(grid)
        check_numbers(sums)
        height, width = scale.size
        x1, y1, x2, y2 = (max(ceil(value), 0) for value in box.tolist())
        down = scale.rows(sums.shape[0], y1, min(y2, height))
        across = scale.columns(sums.shape[1], x1, min(x2, width))
        bits = (down @ sums @ across.T) > 0
        yield Mask(size=scale.size, top=y1, left=x1, bits=bits)


@dataclass(frozen=True, slots=True)
class _Scale:
    """How prototype pixels become mask pixels: magnified, cut, magnified again."""

    size: tuple[int, int]  # height, width of the masks
    first: int  # magnification before the cut
    top: int
    left: int
    cut: tuple[int, int]  # height, width of what is cut out

    def rows(self, count: int, begin: int, end: int) -> Floats:
        """Weights [end - begin, count] of prototype rows in mask rows."""
        magnified = _bilinear(count, count * self.first, self.top, self.top + self.cut[0])
        return _bilinear(self.cut[0], self.size[0], begin, end) @ magnified

    def columns(self, count: int, begin: int, end: int) -> Floats:
        """Weights [end - begin, count] of prototype columns in mask columns."""
        magnified = _bilinear(count, count * self.first, self.left, self.left + self.cut[1])
        return _bilinear(self.cut[1], self.size[1], begin, end) @ magnified


def _onto_canvas(fit: Fit, prototypes: tuple[int, int]) -> _Scale:
    return _Scale(size=fit.canvas, first=1, top=0, left=0, cut=prototypes)


def _onto_picture(fit: Fit, prototypes: tuple[int, int]) -> _Scale:
    """First magnified just so far that the grey borders end on whole pixels, then cut."""
    borders = [whole - part for whole, part in zip(fit.canvas, fit.scaled, strict=True)]
    first = next(
        times
        for times in (1, 2, _STRIDE)
        if times == _STRIDE
        or all(part * times % _STRIDE == 0 for each in borders for part in (each, each // 2))
    )
    height, width = (length * first for length in prototypes)
    gain = min(height / fit.picture[0], width / fit.picture[1])
    cut = (max(round(fit.picture[0] * gain), 1), max(round(fit.picture[1] * gain), 1))
    top, left = round((height - cut[0]) / 2 - 0.1), round((width - cut[1]) / 2 - 0.1)
    return _Scale(size=fit.picture, first=first, top=top, left=left, cut=cut)


def _bilinear(count: int, length: int, begin: int, end: int) -> Floats:
    """Rows ``begin`` to ``end`` of the matrix that stretches ``count`` samples to ``length``."""
    places = (np.arange(begin, max(end, begin)) + 0.5) * (count / length) - 0.5
    places = np.clip(places, 0, count - 1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, count - 1)
    matrix = np.zeros((len(places), count), dtype=np.float32)
    at = np.arange(len(places))
    np.add.at(matrix, (at, low), (1 - (places - low)).astype(np.float32))
    np.add.at(matrix, (at, high), (places - low).astype(np.float32))
    return matrix
