"""Colour that was said small, for every pixel of the full-size picture, a few rows at a time.

``Nearest`` is what the published pipeline does. ``Bilinear`` is smooth and bleeds over edges.
``Guided`` is smooth too, and adds what the light of the full size says beyond the light of the
small one: where colour and light change together, colour changes exactly where the full-size light
does. ``Lined`` is for models that only guess areas: colour becomes lines over lightness altogether.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.colorize.chroma import Colour, Light, box_mean, guided_lines

Floats = NDArray[np.float32]

RADIUS_PX = 1  # of the neighbourhood that a line is fitted to, in small pixels
REGULARITY = 10.0  # squared lightness: fainter edges bend no colour
SLOPE_MAX = 2.0  # of a colour over lightness; steeper ones are noise
AGREEMENT_POWER = 2  # how fast a line loses weight as its fit gets worse


class Spread(Protocol):
    """Gives colour to the rows of one picture of a known size."""

    def rows(self, light: Light, top: int) -> Colour:
        """Return a and b of the rows from ``top`` on, whose lightness is given."""


class Nearest:
    """Every pixel takes the colour of one small pixel: ``floor(place * small / full)``."""

    def __init__(self, colour: Colour, *, height: int, width: int) -> None:
        self._colour = colour
        # single precision, as the published pipeline's interpolation counts
        self._ys = _nearest(colour.shape[0], height)
        self._xs = _nearest(colour.shape[1], width)

    def rows(self, light: Light, top: int) -> Colour:
        """The lightness is not looked at."""
        return np.ascontiguousarray(self._colour[self._ys[top : top + len(light)]][:, self._xs])


class Bilinear:
    """Between the centres of small pixels colour runs straight."""

    def __init__(self, colour: Colour, *, height: int, width: int) -> None:
        self._large = _Enlarged(colour, height=height, width=width)

    def rows(self, light: Light, top: int) -> Colour:
        """The lightness is not looked at."""
        return self._large.rows(top, len(light))


class Guided:
    """Bilinear colour, moved along the slope of colour over light where the full size has more.

    ``light`` is the lightness the colour was predicted for, at its size.
    """

    def __init__(self, light: Light, colour: Colour, *, height: int, width: int) -> None:
        parts = np.dstack([slopes(light, colour), colour, light])
        self._large = _Enlarged(np.asarray(parts, np.float32), height=height, width=width)

    def rows(self, light: Light, top: int) -> Colour:
        """Colour of these rows by their lightness."""
        large = self._large.rows(top, len(light))
        beyond = light - large[..., 4]
        return np.asarray(large[..., 2:4] + large[..., :2] * beyond[..., None], np.float32)


class Lined:
    """Colour as straight lines over lightness around each small pixel, the lines enlarged."""

    def __init__(self, light: Light, colour: Colour, *, height: int, width: int) -> None:
        self._large = _Enlarged(guided_lines(light, colour), height=height, width=width)

    def rows(self, light: Light, top: int) -> Colour:
        """Colour of these rows by their lightness."""
        large = self._large.rows(top, len(light))
        return np.asarray(large[..., :2] * light[..., None] + large[..., 2:], np.float32)


def slopes(light: Light, colour: Colour) -> Colour:
    """Change of a and b per step of lightness around each small pixel.

    Least squares, times a power of the share of colour that the line explains: where colour
    changes without light, or light without colour, nothing is added.
    """
    guide = light.astype(np.float64)
    mean = box_mean(guide, RADIUS_PX)
    variance = np.maximum(box_mean(guide * guide, RADIUS_PX) - mean * mean, 0)
    found = []
    for channel in np.moveaxis(colour.astype(np.float64), -1, 0):
        middle = box_mean(channel, RADIUS_PX)
        covariance = box_mean(guide * channel, RADIUS_PX) - mean * middle
        spread = np.maximum(box_mean(channel * channel, RADIUS_PX) - middle * middle, 0)
        explained = np.clip(covariance**2 / ((variance + 1e-3) * (spread + 1e-3)), 0, 1)
        slope = np.clip(covariance / (variance + REGULARITY), -SLOPE_MAX, SLOPE_MAX)
        found.append(slope * explained**AGREEMENT_POWER)
    return np.dstack(found).astype(np.float32)


class _Enlarged:
    """Bilinear enlargement of [height, width, channels], pixel centres onto pixel centres."""

    def __init__(self, small: Floats, *, height: int, width: int) -> None:
        self._small = small
        self._width = width
        at = (np.arange(height, dtype=np.float64) + 0.5) * (small.shape[0] / height) - 0.5
        at = np.clip(at, 0, small.shape[0] - 1)
        self._low = np.floor(at).astype(int)
        self._high = np.minimum(self._low + 1, small.shape[0] - 1)
        self._share = (at - self._low).astype(np.float32)

    def rows(self, top: int, count: int) -> Floats:
        """Rows ``top`` to ``top + count``, [count, width, channels]."""
        import cv2

        part = slice(top, top + count)
        share = self._share[part, None, None]
        tall = self._small[self._low[part]] * (1 - share) + self._small[self._high[part]] * share
        # in one direction only: OpenCV takes the same pixel centres
        flag = cv2.INTER_LINEAR
        return np.asarray(cv2.resize(tall, (self._width, count), interpolation=flag), np.float32)


def _nearest(small: int, large: int) -> NDArray[np.int64]:
    step = np.float32(small) / np.float32(large)
    places = np.floor(np.arange(large, dtype=np.float32) * step).astype(np.int64)
    return np.asarray(np.minimum(places, small - 1), np.int64)
