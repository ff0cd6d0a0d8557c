"""Scratches: thin long lines, lighter or darker than both their sides, painted over from there.

A line is found where light differs from its surroundings across, and goes on for long along one
of several directions. Hair, wires and masts are lines too: what is as long as a scratch and as
thin is taken for one, so this is off unless asked for.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALO_PX = 144  # what is further away changes nothing
WIDTH_PX_MAX = 4  # wider lines are things
LENGTH_PX = 121  # shorter ones are texture
AVERAGE_PX = 15  # along a line
CONTRAST_MIN = 20.0  # 8-bit steps between a scratch and its sides
ANGLES = (0, 90, 80, 100, 70, 110)  # degrees; 90 is along the film
PAINT_PX = 3.0  # how far around a scratch its filling is taken from

Mask = NDArray[np.uint8]


def without_scratches(grey: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.unsignedinteger[Any]]:
    """Return [height, width] of 8 or 16 bits with scratches filled from their sides."""
    import cv2

    mask = scratch_mask(grey)
    if not mask.any():
        return grey
    filled = cv2.inpaint(grey, mask, PAINT_PX, cv2.INPAINT_TELEA)
    return np.asarray(filled, grey.dtype)


def scratch_mask(grey: NDArray[np.unsignedinteger[Any]]) -> Mask:
    """255 where a scratch is, 0 elsewhere."""
    import cv2

    scale = np.float32(255 / np.iinfo(grey.dtype).max)
    light = grey.astype(np.float32) * scale
    found = np.zeros(grey.shape, np.uint8)
    for angle in ANGLES:
        across = _line(angle + 90, 2 * WIDTH_PX_MAX + 1)
        along = _line(angle, LENGTH_PX)
        # averaged along the line, grain goes and gaps close; edges in other directions fade
        even = _line(angle, AVERAGE_PX).astype(np.float32)
        along_light = cv2.filter2D(light, cv2.CV_32F, even / even.sum())
        # what a thin line loses when it is opened or closed across
        dark = cv2.morphologyEx(along_light, cv2.MORPH_CLOSE, across) - along_light
        bright = along_light - cv2.morphologyEx(along_light, cv2.MORPH_OPEN, across)
        for difference in (dark, bright):
            thin = (difference > CONTRAST_MIN).astype(np.uint8)
            found |= np.asarray(cv2.morphologyEx(thin, cv2.MORPH_OPEN, along), np.uint8)
    return np.asarray(cv2.dilate(found, np.ones((3, 3), np.uint8)) * 255, np.uint8)


def _line(angle: float, length: int) -> Mask:
    """A kernel that is one straight line through its centre."""
    import cv2

    kernel = np.zeros((length, length), np.uint8)
    middle = length // 2
    reach = np.array([np.cos(np.radians(angle)), -np.sin(np.radians(angle))]) * middle
    start, end = (np.rint(middle + sign * reach).astype(int) for sign in (-1, 1))
    cv2.line(kernel, (int(start[0]), int(start[1])), (int(end[0]), int(end[1])), 1)
    return kernel
