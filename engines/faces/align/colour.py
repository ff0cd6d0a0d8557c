"""Give a new face the colours of the one it replaces: mean and spread in Lab, inside a mask."""

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Pixels

# A flat target must not flatten a face, nor a contrasty one exaggerate it.
SPREAD_RATIO_MIN, SPREAD_RATIO_MAX = 0.6, 1.6
# Fewer pixels say nothing about colours.
PIXELS_MIN = 16


def match_colours(new: Pixels, behind: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """The new face with mean and spread of the old one's Lab values, both taken inside the mask.

    Args:
        new: [height, width, 3] BGR.
        behind: what it will cover, of the same shape.
        inside: [height, width]; with fewer than ``PIXELS_MIN`` pixels the new face stays.
    """
    import cv2

    if np.count_nonzero(inside) < PIXELS_MIN:
        return new
    fresh = cv2.cvtColor(new, cv2.COLOR_BGR2LAB).astype(np.float32)
    old = cv2.cvtColor(behind, cv2.COLOR_BGR2LAB).astype(np.float32)
    fresh_mean, old_mean = fresh[inside].mean(axis=0), old[inside].mean(axis=0)
    fresh_spread, old_spread = fresh[inside].std(axis=0), old[inside].std(axis=0)
    ratio = np.clip(old_spread / np.maximum(fresh_spread, 1e-3), SPREAD_RATIO_MIN, SPREAD_RATIO_MAX)
    matched = np.rint(np.clip((fresh - fresh_mean) * ratio + old_mean, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(matched, cv2.COLOR_LAB2BGR), dtype=np.uint8)
