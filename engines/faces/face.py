"""A face as every detector here reports it, and what a detector is.

The five points are, in this order and in pixels of the whole picture: viewer-left eye,
viewer-right eye, nose tip, viewer-left mouth corner, viewer-right mouth corner.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [height, width, 3] BGR
Points = NDArray[np.float64]  # [n, 2] x, y


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face; ``points`` may lie outside the picture when the face is cut off."""

    box: tuple[float, float, float, float]  # x1, y1, x2, y2
    points: Points  # [5, 2]
    score: float  # 0..1; comparable only within one detector

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])

    def describe(self) -> dict[str, Any]:
        """Return the face as JSON-ready numbers: box, five points, score."""
        return {
            "box": [round(value, 1) for value in self.box],
            "points": [[round(float(x), 1), round(float(y), 1)] for x, y in self.points],
            "score": round(self.score, 3),
        }


class FaceDetector(Protocol):
    """Finds faces; the same picture always gives the same faces."""

    @property
    def name(self) -> str:
        """What really looks, as results name it: ``yunet@2023mar`` or ``haar@1``."""

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of a BGR picture, best first; empty when there is none."""

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture, as ``detect`` does; faster where networks batch."""
