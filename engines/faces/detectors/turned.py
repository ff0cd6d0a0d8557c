"""Look for faces that lie on their side or stand on their head, in turned pictures."""

from collections.abc import Sequence

import numpy as np

from engines.faces.detectors.letterbox import Size, size_of
from engines.faces.detectors.rows import Rows, faces_of, suppress
from engines.faces.face import Face, FaceDetector, Pixels, Points
from engines.faces.geometry import Affine, apply

ANGLES = (0, 90, 180, 270)
# The same face is found in several turns, in boxes that agree less the more turns there are.
OVERLAPS_MAX = {1: 0.4, 2: 0.3, 3: 0.2, 4: 0.1}


class TurnedPasses:
    """Another detector, asked once for each turn of the picture.

    Args:
        detector: looks for upright faces.
        angles: degrees counterclockwise, of ``ANGLES``, each once.
    """

    def __init__(self, detector: FaceDetector, angles: Sequence[int] = ANGLES) -> None:
        if not angles or len(set(angles)) != len(angles) or not set(angles) <= set(ANGLES):
            raise ValueError(f"angles are some of {ANGLES}, each once, not {tuple(angles)}")
        self._detector = detector
        self._angles = tuple(angles)

    @property
    def name(self) -> str:
        """The detector's, and the turns: others may find other faces."""
        return f"{self._detector.name}/angles={'-'.join(map(str, self._angles))}"

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the faces of a BGR picture in any of the turns, best score first.

        Points keep their meaning: the first is the eye to the left when the face stands upright.
        """
        [faces] = self.detect_many([pixels])
        return faces

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture."""
        found: list[list[Rows]] = [[] for _ in pictures]
        for angle in self._angles:
            turned = [_turn(pixels, angle) for pixels in pictures]
            for rows, pixels, faces in zip(
                found, pictures, self._detector.detect_many(turned), strict=True
            ):
                back = way_back(angle, size_of(pixels))
                rows += [_row(face, back) for face in faces]
        overlap = OVERLAPS_MAX[len(self._angles)]
        return [
            faces_of(suppress(np.stack(rows), overlap_max=overlap)) if rows else []
            for rows in found
        ]


def way_back(angle: int, picture: Size) -> Affine:
    """From pixels of a picture turned counterclockwise to those of the picture itself."""
    right, bottom = picture[0] - 1.0, picture[1] - 1.0
    return {
        0: np.array([[1.0, 0, 0], [0, 1, 0]]),
        90: np.array([[0, -1.0, right], [1, 0, 0]]),
        180: np.array([[-1.0, 0, right], [0, -1, bottom]]),
        270: np.array([[0, 1.0, 0], [-1, 0, bottom]]),
    }[angle]


def _turn(pixels: Pixels, angle: int) -> Pixels:
    return np.ascontiguousarray(np.rot90(pixels, angle // 90))


def _row(face: Face, back: Affine) -> Rows:
    x1, y1, x2, y2 = face.box
    corners: Points = apply(back, np.array([[x1, y1], [x2, y2]]))
    points = apply(back, face.points)
    return np.concatenate([corners.min(axis=0), corners.max(axis=0), points.ravel(), [face.score]])
