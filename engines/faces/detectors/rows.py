"""Candidates as rows: of overlapping ones keep the best, of many those that matter.

A row is x1, y1, x2, y2, five points x, y, score: fifteen numbers, in pixels.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.faces.detectors.letterbox import Size
from engines.faces.face import Face

Rows = NDArray[np.float64]  # [n, 15]; without points [n, 5]


class Metric(StrEnum):
    """Which faces stay where fewer are wanted than there are."""

    CENTRAL = "central"  # large ones near the middle: area less twice the squared distance
    LARGEST = "largest"  # by area alone


def suppress(rows: Rows, *, overlap_max: float, border_px: float = 0.0) -> Rows:
    """Keep the best of every group of overlapping boxes, best first (greedy).

    Args:
        rows: candidates; the box comes first and the score last.
        overlap_max: intersection over union of two boxes that may both stay.
        border_px: added to every width and height: InsightFace counts pixels and adds one.
    """
    rows = rows[np.argsort(-rows[:, -1], kind="stable")]
    kept: list[NDArray[np.float64]] = []
    while len(rows):
        best, rows = rows[0], rows[1:]
        kept.append(best)
        rows = rows[_overlaps(best, rows, border_px) <= overlap_max]
    return np.stack(kept) if kept else rows


def faces_of(rows: Rows, ratios: tuple[float, float] = (1.0, 1.0)) -> list[Face]:
    """Rows as faces, in pixels of the picture.

    Args:
        rows: [n, 15].
        ratios: row pixels per picture pixel, across and down.
    """
    scale = np.array(ratios)
    boxes = rows[:, :4].reshape(-1, 2, 2) / scale
    points = rows[:, 4:14].reshape(-1, 5, 2) / scale
    return [
        Face(
            box=(float(box[0, 0]), float(box[0, 1]), float(box[1, 0]), float(box[1, 1])),
            points=five,
            score=float(row[-1]),
        )
        for row, box, five in zip(rows, boxes, points, strict=True)
    ]


def keep_most(
    faces: Sequence[Face], *, most: int, picture: Size, metric: Metric = Metric.CENTRAL
) -> list[Face]:
    """At most so many faces, the most important first; as they are where there are fewer.

    Args:
        faces: of one picture.
        most: how many may stay; 0: all.
        picture: width and height.
        metric: what makes a face important.
    """
    if most <= 0 or len(faces) <= most:
        return list(faces)
    centre = picture[0] // 2, picture[1] // 2
    weights = [_weight(face, centre, metric) for face in faces]
    order = sorted(range(len(faces)), key=lambda place: -weights[place])
    return [faces[place] for place in order[:most]]


def _weight(face: Face, centre: tuple[int, int], metric: Metric) -> float:
    if metric is Metric.LARGEST:
        return face.area
    x1, y1, x2, y2 = face.box
    away = ((x1 + x2) / 2 - centre[0]) ** 2 + ((y1 + y2) / 2 - centre[1]) ** 2
    return face.area - 2 * away


def _overlaps(row: NDArray[np.float64], rows: Rows, border_px: float) -> NDArray[np.float64]:
    low = np.maximum(row[:2], rows[:, :2])
    high = np.minimum(row[2:4], rows[:, 2:4])
    shared = np.prod(np.clip(high - low + border_px, 0.0, None), axis=1)
    areas = np.prod(rows[:, 2:4] - rows[:, :2] + border_px, axis=1)
    total = np.prod(row[2:4] - row[:2] + border_px) + areas - shared
    overlaps: NDArray[np.float64] = shared / np.maximum(total, 1e-9)
    return overlaps
