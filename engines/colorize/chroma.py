"""Colour kept apart from light: predict it small, lay it over the full-size picture edge by edge.

A picture is split into lightness (CIE Lab L, 0..100) and colour (a, b, about -100..100). Models say
a and b at a small size. There a guided filter writes colour as local straight lines over lightness;
the lines are enlarged, not the colours, so colour follows the edges of the full-size picture. Light
itself is never changed: where a colour cannot exist at a lightness, it is toned down until it can.
"""

import numpy as np
from numpy.typing import NDArray

from engines.media.rows import Depth, Samples

UnitPixels = NDArray[np.float32]  # [height, width, 3] BGR, 0..1
Light = NDArray[np.float32]  # [height, width], 0..100
Colour = NDArray[np.float32]  # [height, width, 2]: a, b
Lines = NDArray[np.float32]  # [height, width, 4]: slope of a and b, offset of a and b

# Radius (share of the longer side) and regularity (squared lightness) of the guided filter.
GUIDE_RADIUS = 0.012
GUIDE_REGULARITY = 30.0
LIGHT_TOLERANCE = 0.35  # L; a colour that moves lightness by more is toned down
TONE_DOWN = (0.75, 0.5, 0.25, 0.0)  # shares of the colour that are tried in turn


def unit(samples: Samples) -> UnitPixels:
    """Return samples [height, width, 1 or 3] as BGR 0..1; grey is repeated."""
    values = samples.astype(np.float32) / np.float32(np.iinfo(samples.dtype).max)
    return np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values


def lightness(pixels: UnitPixels) -> Light:
    """Return L of a BGR picture 0..1, 0..100."""
    import cv2

    return np.ascontiguousarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB)[..., 0], np.float32)


def colourfulness(pixels: UnitPixels) -> float:
    """Mean of |a| and |b| of a BGR picture 0..1."""
    import cv2

    return float(np.abs(cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB)[..., 1:]).mean())


def neutral_grey(pixels: UnitPixels) -> UnitPixels:
    """The lightness of a BGR picture as neutral RGB, both 0..1: what networks are shown."""
    import cv2

    light = cv2.cvtColor(pixels, cv2.COLOR_BGR2LAB)[..., :1]
    neutral = np.concatenate([light, np.zeros_like(light), np.zeros_like(light)], axis=2)
    return np.asarray(cv2.cvtColor(neutral, cv2.COLOR_LAB2RGB), np.float32)


def guided_lines(light: Light, colour: Colour) -> Lines:
    """Return, for each pixel, the straight lines that say its colour from its lightness."""
    radius = max(2, round(GUIDE_RADIUS * max(light.shape)))
    return _lines(light, colour, radius=radius, regularity=GUIDE_REGULARITY)


def guided_filter(light: Light, weights: Light, *, radius: int, regularity: float) -> Light:
    """Smooth a map so that it keeps the edges of the lightness.

    Args:
        light: the guide, 0..100.
        weights: the map, [height, width].
        radius: of the box, in pixels.
        regularity: squared lightness; edges fainter than its root are smoothed over.
    """
    lines = _lines(light, weights[..., None], radius=radius, regularity=regularity)
    return np.asarray(lines[..., 0] * light + lines[..., 1], dtype=np.float32)


def to_samples(light: Light, colour: Colour, depth: Depth) -> Samples:
    """Return BGR of this lightness and colour, as the published pipeline does."""
    return _rounded(_to_unit(light, colour), depth)


def to_lit_samples(light: Light, colour: Colour, depth: Depth) -> Samples:
    """Return BGR of this lightness, with as much of the colour as exists at it."""
    pixels = _to_unit(light, colour)
    # only a colour that was cut off at the rim of what exists has another lightness
    cut = ((pixels <= 0) | (pixels >= 1)).any(axis=2)
    if cut.any():
        pixels[cut] = _toned_down(light[cut][None], colour[cut][None], pixels[cut][None])[0]
    return _rounded(pixels, depth)


def _toned_down(light: Light, colour: Colour, pixels: UnitPixels) -> UnitPixels:
    wrong = np.abs(lightness(pixels) - light) > LIGHT_TOLERANCE
    for share in TONE_DOWN:
        if not wrong.any():
            break
        part = _to_unit(light[wrong][None], colour[wrong][None] * np.float32(share))
        pixels[wrong] = part[0]
        still = np.abs(lightness(part) - light[wrong][None]) > LIGHT_TOLERANCE
        wrong[wrong] = still[0]
    return pixels


def _to_unit(light: Light, colour: Colour) -> UnitPixels:
    import cv2

    lab = np.empty((*light.shape, 3), np.float32)
    lab[..., 0], lab[..., 1:] = light, colour
    pixels = np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR, dst=lab), np.float32)
    return np.clip(pixels, 0.0, 1.0, out=pixels)


def _rounded(pixels: UnitPixels, depth: Depth) -> Samples:
    pixels *= np.float32(np.iinfo(depth).max)
    samples: Samples = np.rint(pixels, out=pixels).astype(depth)
    return samples


def _lines(
    light: Light, values: NDArray[np.float32], *, radius: int, regularity: float
) -> NDArray[np.float32]:
    """Return slopes then offsets, [height, width, 2 * channels]: the guided filter of He et al."""
    guide = light.astype(np.float64)
    mean = box_mean(guide, radius)
    variance = box_mean(guide * guide, radius) - mean * mean
    parts: list[NDArray[np.float64]] = []
    offsets: list[NDArray[np.float64]] = []
    for channel in np.moveaxis(values.astype(np.float64), -1, 0):
        channel_mean = box_mean(channel, radius)
        covariance = box_mean(guide * channel, radius) - mean * channel_mean
        slope = covariance / (variance + regularity)
        parts.append(box_mean(slope, radius))
        offsets.append(box_mean(channel_mean - slope * mean, radius))
    return np.dstack([*parts, *offsets]).astype(np.float32)


def box_mean(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    """Mean over a square of ``2 * radius + 1`` around each pixel, mirrored at the rim."""
    import cv2

    side = 2 * radius + 1
    box = cv2.boxFilter(values, cv2.CV_64F, (side, side), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(box, dtype=np.float64)
