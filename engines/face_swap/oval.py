"""The oval of a face: where it is, how it is turned, and which pixels belong to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.face_swap.params import Mask
from engines.faces.face import Points
from engines.faces.geometry import UnusableFaceError

Window = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels; may reach beyond the picture
Radius = NDArray[np.float32]  # [height, width]: 0 in the centre of a face, 1 at its rim

# The face lies between eyes and mouth: where its centre is on the way down, and its half axes in
# eye distances and eye-mouth distances.
CENTRE_DOWN = 0.58
HALF_WIDTH_EYES = 0.98
HALF_HEIGHT_MOUTH = 1.18
# A turned head shows less of the side its nose points to. The half width shrinks by this factor of
# the nose's offset (in eye distances): little beside the eye, which must stay whole, and more down
# to the mouth. The places are heights in the oval, -1 the top and 1 the chin.
TURN_FACTOR = 1.5
TURN_LOSS_EYES_MAX, TURN_LOSS_MOUTH_MAX = 0.12, 0.40
EYES_AT, MOUTH_AT = -0.49, 0.36
HALF_AXIS_PX_MIN = 3.0
# Room around the oval: the gradient solver wants the rim inside its picture.
MARGIN_PX = 4
# |x|^n + |y|^n <= 1 and the size of the axes: an ellipse, or a rounded box of the same area.
SHAPES = {Mask.ELLIPSE: (2.0, 1.0), Mask.BOX: (4.0, 0.92)}


@dataclass(frozen=True, slots=True)
class Oval:
    """The outline of a face; on a turned head the far side is narrower."""

    centre: tuple[float, float]
    half_width: float  # pixels, of a head that looks at the viewer
    half_height: float
    turn: float  # the nose's offset in eye distances; below 0 to the viewer's left
    angle: float  # of the eye line, radians

    def window(self) -> Window:
        """Return the pixels around the oval, with margin."""
        cos, sin = abs(np.cos(self.angle)), abs(np.sin(self.angle))
        reach_x = self.half_width * cos + self.half_height * sin + MARGIN_PX
        reach_y = self.half_width * sin + self.half_height * cos + MARGIN_PX
        x, y = self.centre
        x1, y1 = int(np.floor(x - reach_x)), int(np.floor(y - reach_y))
        return x1, y1, int(np.ceil(x + reach_x)) + 1, int(np.ceil(y + reach_y)) + 1

    def radius(self, window: Window, *, mask: Mask) -> Radius:
        """Return the distance of each pixel of a window from the centre, 1 at the rim."""
        exponent, size = SHAPES[mask]
        x1, y1, x2, y2 = window
        ys, xs = np.mgrid[y1:y2, x1:x2].astype(np.float32)
        xs, ys = xs - self.centre[0], ys - self.centre[1]
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        across = (xs * cos + ys * sin) / self.half_width
        down = (ys * cos - xs * sin) / self.half_height
        across = np.where(across * self.turn > 0, across / self._shares(down), across)
        radius = (np.abs(across) ** exponent + np.abs(down) ** exponent) ** (1 / exponent) / size
        return np.asarray(radius, dtype=np.float32)

    def _shares(self, down: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is left of the half width at each height, on the side turned away."""
        loss = TURN_FACTOR * abs(self.turn)
        beside_eyes = 1 - min(loss, TURN_LOSS_EYES_MAX)
        beside_mouth = 1 - min(loss, TURN_LOSS_MOUTH_MAX)
        shares: NDArray[np.float64] = np.interp(
            down, (EYES_AT, MOUTH_AT), (beside_eyes, beside_mouth)
        )
        return shares


def face_oval(points: Points) -> Oval:
    """Return the oval of a face with these five points.

    Raises:
        UnusableFaceError: The face is too small or turned too far to be replaced.
    """
    eyes, mouth = points[:2].mean(axis=0), points[3:].mean(axis=0)
    eye_line, down = points[1] - points[0], mouth - eyes
    eye_distance, height = float(np.hypot(*eye_line)), float(np.hypot(*down))
    if not min(eye_distance, height) >= HALF_AXIS_PX_MIN:
        raise UnusableFaceError("a face is too small or turned too far away to be replaced")
    nose = float((points[2] - (eyes + mouth) / 2) @ eye_line) / eye_distance**2
    centre = eyes + CENTRE_DOWN * down
    return Oval(
        centre=(float(centre[0]), float(centre[1])),
        half_width=eye_distance * HALF_WIDTH_EYES,
        half_height=height * HALF_HEIGHT_MOUTH,
        turn=nose,
        angle=float(np.arctan2(eye_line[1], eye_line[0])),
    )
