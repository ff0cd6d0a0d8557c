"""People from the histogram detector inside OpenCV: upright and whole, nothing to download.

People who sit, turn or are cut off are missed; faces find most of those.
"""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [height, width, 3] BGR

SIDE_PX = 640  # larger pictures are searched at this size
SCORE_MIN = 1.4  # columns and street lamps stay below


class HogPeople:
    """A detector over OpenCV's people detector; not thread-safe, one per worker."""

    name = "hog@1"

    @cached_property
    def _hog(self) -> Any:  # noqa: ANN401 - the library is untyped here
        import cv2

        hog = cv2.HOGDescriptor()
        hog.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector()))
        return hog

    def count(self, pixels: Pixels) -> int:
        """How many people a BGR picture shows; overlapping findings count once."""
        import cv2

        ratio = min(1.0, SIDE_PX / max(pixels.shape[:2]))
        size = round(pixels.shape[1] * ratio), round(pixels.shape[0] * ratio)
        window_width, window_height = self._hog.winSize
        if size[0] < window_width or size[1] < window_height:
            return 0
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA) if ratio < 1 else pixels
        _, scores = self._hog.detectMultiScale(
            small, hitThreshold=0.0, winStride=(8, 8), padding=(16, 16), scale=1.05
        )
        return int((np.asarray(scores).reshape(-1) >= SCORE_MIN).sum())
