"""Fit a picture into the top left of a network's canvas."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Pixels

Size = tuple[int, int]  # width, height


@dataclass(frozen=True, slots=True)
class Fit:
    """How large a picture lies on a canvas."""

    canvas: Size
    picture: Size  # as it came
    scaled: Size  # on the canvas, whole pixels

    @property
    def ratios(self) -> tuple[float, float]:
        """Canvas pixels per picture pixel, across and down: each was rounded by itself."""
        return self.scaled[0] / self.picture[0], self.scaled[1] / self.picture[1]


def fit(picture: Size, canvas: Size) -> Fit:
    """Scale up or down to touch the canvas, proportions kept, cut to whole pixels."""
    width, height = picture
    if height / width > canvas[1] / canvas[0]:
        scaled = (int(canvas[1] / (height / width)), canvas[1])
    else:
        scaled = (canvas[0], int(canvas[0] * (height / width)))
    return Fit(canvas, picture, (max(1, scaled[0]), max(1, scaled[1])))


def lay_out(pixels: Pixels, placed: Fit, *, method: int) -> NDArray[np.uint8]:
    """The canvas [height, width, 3] BGR, black where the picture ends.

    Args:
        pixels: the picture.
        placed: from ``fit``.
        method: OpenCV's interpolation.
    """
    import cv2

    canvas = np.zeros((placed.canvas[1], placed.canvas[0], 3), dtype=np.uint8)
    width, height = placed.scaled
    canvas[:height, :width] = cv2.resize(pixels, (width, height), interpolation=method)
    return canvas


def size_of(pixels: Pixels) -> Size:
    """Width and height of a picture."""
    return int(pixels.shape[1]), int(pixels.shape[0])
