"""Faces from the Haar cascades bundled with OpenCV: nothing to download.

A cascade gives an upright square and no points. Two eye cascades look for the eyes in its upper
part; nose and mouth follow from them by the proportions of a frontal face. Faces that are turned
or tilted by more than about 20 degrees are missed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Face, Pixels, Points
from engines.faces.geometry import apply, similarity

if TYPE_CHECKING:
    import cv2

# Where the five points lie inside the cascade's square, as fractions of its side (medians over
# frontal photographs).
PROPORTIONS = np.array(
    [[0.335, 0.385], [0.665, 0.385], [0.5, 0.57], [0.365, 0.735], [0.645, 0.735]]
)

PICTURE_SIDE_PX = 960  # larger pictures are searched at this size; time grows with the area
FACE_SIDE_PX_MIN = 24
SCALE_STEP = 1.1
NEIGHBOURS_MIN = 4
# The weight of the last stage: real faces lie above 55.4, bushes and stone faces below.
WEIGHT_MIN = 55.4
WEIGHT_SPAN = 2.0  # weights reach about 57.4

EYE_CROP_PX = 160  # the square is brought to this side before eyes are looked for
EYE_ZONE = 0.62  # share of the square, from the top, that can hold eyes
EYE_REACH = 0.13  # an eye further from its expected place (share of the side) is something else
EYE_TRUST = 0.7  # a found eye moves the expected one by this share of the distance


@dataclass(frozen=True, slots=True)
class _Square:
    x: float
    y: float
    side: float
    weight: float


class HaarFaces:
    """A detector over OpenCV's cascades; not thread-safe, one per worker."""

    name = "haar@1"

    @cached_property
    def _faces(self) -> "cv2.CascadeClassifier":
        return _cascade("haarcascade_frontalface_alt2.xml")

    @cached_property
    def _eyes(self) -> tuple["cv2.CascadeClassifier", ...]:
        names = ("haarcascade_eye.xml", "haarcascade_eye_tree_eyeglasses.xml")
        return tuple(_cascade(name) for name in names)

    def detect(self, pixels: Pixels) -> list[Face]:
        """Return the frontal, upright faces of a BGR picture, best first."""
        import cv2

        grey = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), dtype=np.uint8)
        faces = [self._face(grey, square) for square in self._squares(grey)]
        return sorted(faces, key=lambda face: -face.score)

    def detect_many(self, pictures: Sequence[Pixels]) -> list[list[Face]]:
        """Return the faces of each picture, one after the other."""
        return [self.detect(pixels) for pixels in pictures]

    def _squares(self, grey: NDArray[np.uint8]) -> list[_Square]:
        import cv2

        ratio = min(1.0, PICTURE_SIDE_PX / max(grey.shape))
        # before scaling: of a picture two pixels high nothing would be left
        if min(grey.shape) * ratio < FACE_SIDE_PX_MIN:
            return []
        if ratio < 1:
            small = cv2.resize(grey, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
            grey = np.asarray(small, dtype=np.uint8)
        boxes, _, weights = self._faces.detectMultiScale3(
            grey,
            SCALE_STEP,
            NEIGHBOURS_MIN,
            minSize=(FACE_SIDE_PX_MIN, FACE_SIDE_PX_MIN),
            outputRejectLevels=True,
        )
        return [
            _Square(float(x / ratio), float(y / ratio), float(side / ratio), float(weight))
            for (x, y, side, _), weight in zip(boxes, np.ravel(weights), strict=True)
            if weight >= WEIGHT_MIN
        ]

    def _face(self, grey: NDArray[np.uint8], square: _Square) -> Face:
        corner = np.array([square.x, square.y])
        eyes = self._find_eyes(grey, square)
        points = apply(
            similarity(PROPORTIONS[:2] * square.side, eyes * square.side), PROPORTIONS * square.side
        )
        x, y, side = square.x, square.y, square.side
        return Face(
            # The cascade's square has air on the sides and cuts the chin; a box hugs the face.
            box=(x + 0.12 * side, y + 0.06 * side, x + 0.88 * side, y + 1.02 * side),
            points=points + corner,
            score=float(np.clip((square.weight - WEIGHT_MIN) / WEIGHT_SPAN, 0.01, 1.0)),
        )

    def _find_eyes(self, grey: NDArray[np.uint8], square: _Square) -> Points:
        """Return both eyes as fractions of the square; expected places where none is seen."""
        import cv2

        x, y, side = int(square.x), int(square.y), int(square.side)
        upper = grey[y : y + int(side * EYE_ZONE), x : x + side]
        size = (EYE_CROP_PX, int(EYE_CROP_PX * EYE_ZONE))
        crop = cv2.resize(upper, size, interpolation=cv2.INTER_CUBIC)
        boxes = [
            box
            for cascade in self._eyes
            for box in cascade.detectMultiScale(crop, 1.05, 3, minSize=(24, 24), maxSize=(70, 70))
        ]
        centres = np.array([(ex + w / 2, ey + h / 2) for ex, ey, w, h in boxes]).reshape(-1, 2)
        return _settle_eyes(centres / EYE_CROP_PX)


def _settle_eyes(candidates: Points) -> Points:
    """Move the two expected eyes towards the nearest candidates; one eye takes the other along."""
    moves: list[NDArray[np.float64] | None] = []
    for expected in PROPORTIONS[:2]:
        offsets = candidates - expected
        lengths = np.hypot(offsets[:, 0], offsets[:, 1])
        near = len(lengths) > 0 and lengths.min() <= EYE_REACH
        moves.append(offsets[int(lengths.argmin())] * EYE_TRUST if near else None)
    left, right = moves
    still = np.zeros(2)
    left_move = left if left is not None else (right if right is not None else still)
    right_move = right if right is not None else left_move
    return PROPORTIONS[:2] + np.stack([left_move, right_move])


def _cascade(name: str) -> "cv2.CascadeClassifier":
    import cv2

    # The wheel carries the cascades beside its library.
    return cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / name))
