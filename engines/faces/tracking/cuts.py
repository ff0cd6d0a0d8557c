"""Hard cuts: where a frame shows another scene than the one before."""

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Pixels

THUMB = (32, 32)
COARSE_PX = 128  # of a larger frame only so many rows are looked at
# Mean difference of two thumbnails in 8-bit levels. Moving heads and flashing boxes stay below 23,
# cuts between unlike scenes lie above 50; a missed cut is caught by the faces themselves.
DIFFERENCE = 32.0


class CutFinder:
    """Compares each frame with the one before; one for each video."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def step(self, pixels: Pixels) -> bool:
        """Whether this frame is the first of another scene; the first of all is none."""
        import cv2

        step = max(1, min(pixels.shape[:2]) // COARSE_PX)
        small = cv2.resize(pixels[::step, ::step], THUMB, interpolation=cv2.INTER_AREA)
        thumb = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY).astype(np.float32)
        before, self._before = self._before, thumb
        return before is not None and float(np.abs(thumb - before).mean()) > DIFFERENCE
