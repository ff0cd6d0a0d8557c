"""Detail for a swapped face without a network: ``builtin-detail@1``.

The luminance is split by edge-preserving filters into a smooth base and two bands. The bands are
raised; faint differences (noise, JPEG blocks) less than clear ones, and strong ones bend towards a
limit so that edges do not ring. Colour is left alone.
"""

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Pixels

NAME = "builtin-detail@1"

# enhance_level -> gain of the fine and of the broad band; levels 0 and 1 change nothing.
GAINS: dict[int, tuple[float, float]] = {2: (0.7, 0.25), 3: (1.4, 0.5)}
NOISE_FLOOR = 1.5  # 8-bit luminance steps: differences this small are raised half as much
LIMIT = 14.0  # 8-bit luminance steps: the most that is added or taken away
RANGE_SIGMA = 28.0  # 8-bit luminance steps: larger differences are edges, not detail


def enhance(pixels: Pixels, *, level: int, face_side_px: float) -> Pixels:
    """Return the picture with more detail; the same picture for levels 0 and 1.

    Args:
        pixels: BGR picture of one face.
        level: ``enhance_level``, 0..3.
        face_side_px: Width of the face; the bands follow its size.
    """
    import cv2

    if level not in GAINS:
        return pixels
    fine_gain, broad_gain = GAINS[level]
    lab = cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB)
    light = lab[..., 0].astype(np.float32)
    sigma = float(np.clip(face_side_px / 130, 0.8, 4.0))
    fine_base = _smooth(light, sigma)
    broad_base = _smooth(light, sigma * 3)
    added = fine_gain * _core(light - fine_base) + broad_gain * _core(fine_base - broad_base)
    added = LIMIT * np.tanh(added / LIMIT)
    lab[..., 0] = np.rint(np.clip(light + added, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), dtype=np.uint8)


def _smooth(light: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    import cv2

    smooth = cv2.bilateralFilter(light, 0, RANGE_SIGMA, sigma)
    return np.asarray(smooth, dtype=np.float32)


def _core(band: NDArray[np.float32]) -> NDArray[np.float32]:
    """Halve what is near the noise floor, keep what is clearly above it."""
    size = np.abs(band)
    return np.asarray(band * (0.5 + 0.5 * size / (size + NOISE_FLOOR)), dtype=np.float32)
