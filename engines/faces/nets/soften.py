"""What all learned masks have in common: their size and their soft rim."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Masks = NDArray[np.float32]  # [n, side, side], 0..1

BLUR_SIGMA = 5.0


def resized(pictures: NDArray[Any], *, side: int) -> NDArray[Any]:
    """Pictures [n, h, w, 3] or masks [n, h, w] as squares of ``side``, bilinear."""
    import cv2

    if pictures.shape[1:3] == (side, side):
        return pictures
    return np.stack([cv2.resize(each, (side, side)) for each in pictures])


def softened(masks: Masks) -> Masks:
    """Blurred, and what is less than half gone: the rim falls inwards and reaches 0."""
    import cv2

    blurred = np.stack([cv2.GaussianBlur(mask, (0, 0), BLUR_SIGMA) for mask in masks])
    return np.asarray((np.clip(blurred, 0.5, 1.0) - 0.5) * 2, dtype=np.float32)
