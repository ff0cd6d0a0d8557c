"""YuNet: a small face detector with five points, anchor-free, three strides.

The network takes raw 0..255 BGR and gives four arrays per stride: class and object scores
[1, n, 1], boxes [1, n, 4] and points [1, n, 10], row by row over the grid of that stride.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Face, Pixels
from engines.runners.base import Runner

STRIDES = (8, 16, 32)
SIDE_PX = 640  # trained size; pictures are fitted into a square of it
SCORE_MIN = 0.75
OVERLAP_MAX = 0.3  # intersection over union of two boxes that may both stay


class YuNet:
    """A detector over a runner that holds the YuNet network."""

    def __init__(
        self, runner: Runner, *, name: str, side_px: int = SIDE_PX, score_min: float = SCORE_MIN
    ) -> None:
        self._runner = runner
        self._side_px = side_px
        self._score_min = score_min
        self._name = name

    @property
    def name(self) -> str:
        """The version of the network, e.g. ``yunet@2023mar``."""
        return self._name

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of a BGR picture, best score first."""
        blob, ratio = letterbox(pixels, side_px=self._side_px)
        outputs = self._runner.run({self._runner.inputs[0].name: blob})
        rows = decode(outputs, side_px=self._side_px, score_min=self._score_min)
        return [_face(row, ratio) for row in suppress(rows, overlap_max=OVERLAP_MAX)]


def letterbox(pixels: Pixels, *, side_px: int) -> tuple[NDArray[np.float32], float]:
    """Fit a picture into the top left of a black square.

    Returns:
        The network input [1, 3, side, side] and the ratio input pixel / picture pixel.
    """
    import cv2

    height, width = pixels.shape[:2]
    ratio = min(side_px / width, side_px / height)
    size = (max(1, int(width * ratio)), max(1, int(height * ratio)))
    # Area averaging keeps small faces of a large picture; bilinear would alias them away.
    method = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((side_px, side_px, 3), dtype=np.float32)
    canvas[: size[1], : size[0]] = cv2.resize(pixels, size, interpolation=method)
    return np.ascontiguousarray(canvas.transpose(2, 0, 1)[None]), ratio


def decode(
    outputs: Mapping[str, NDArray[Any]], *, side_px: int, score_min: float
) -> NDArray[np.float64]:
    """Turn the twelve arrays into candidate rows.

    Returns:
        [n, 15]: x1, y1, x2, y2, five points x, y, score; in pixels of the network input.
    """
    found = [_decode_stride(outputs, stride, side_px, score_min) for stride in STRIDES]
    return np.concatenate(found)


def _decode_stride(
    outputs: Mapping[str, NDArray[Any]], stride: int, side_px: int, score_min: float
) -> NDArray[np.float64]:
    # cell corner, no half-pixel shift: (column, row) * stride
    grid = side_px // stride
    classes = np.clip(outputs[f"cls_{stride}"][0, :, 0], 0.0, 1.0)
    objects = np.clip(outputs[f"obj_{stride}"][0, :, 0], 0.0, 1.0)
    scores = np.sqrt(classes * objects)
    keep = np.flatnonzero(scores >= score_min)
    cells = np.stack([keep % grid, keep // grid], axis=1).astype(np.float64)
    boxes = outputs[f"bbox_{stride}"][0, keep].astype(np.float64)
    points = outputs[f"kps_{stride}"][0, keep].astype(np.float64).reshape(-1, 5, 2)
    centres = (cells + boxes[:, :2]) * stride
    halves = np.exp(boxes[:, 2:]) * stride / 2
    points = (points + cells[:, None, :]) * stride
    return np.concatenate(
        [centres - halves, centres + halves, points.reshape(-1, 10), scores[keep, None]], axis=1
    )


def suppress(rows: NDArray[np.float64], *, overlap_max: float) -> Sequence[NDArray[np.float64]]:
    """Keep the best of every group of overlapping boxes, best first (greedy)."""
    rows = rows[np.argsort(-rows[:, -1], kind="stable")]
    kept: list[NDArray[np.float64]] = []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        rows = rows[_overlaps(best, rows) <= overlap_max]
    return kept


def _overlaps(row: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.maximum(row[:2], rows[:, :2])
    high = np.minimum(row[2:4], rows[:, 2:4])
    shared = np.prod(np.clip(high - low, 0.0, None), axis=1)
    total = np.prod(row[2:4] - row[:2]) + np.prod(rows[:, 2:4] - rows[:, :2], axis=1) - shared
    overlaps: NDArray[np.float64] = shared / np.maximum(total, 1e-9)
    return overlaps


def _face(row: NDArray[np.float64], ratio: float) -> Face:
    x1, y1, x2, y2 = (float(value) for value in row[:4] / ratio)
    return Face(box=(x1, y1, x2, y2), points=row[4:14].reshape(5, 2) / ratio, score=float(row[14]))
