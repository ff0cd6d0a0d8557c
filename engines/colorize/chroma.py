"""Colour kept apart from light: predict it small, lay it over the full-size picture edge by edge.

A picture is split into lightness (CIE Lab L, 0..100) and colour (a, b, about -100..100). Models say
a and b at a small size. There a guided filter writes colour as local straight lines over lightness;
the lines are enlarged, not the colours, so colour follows the edges of the full-size picture. Light
itself is never changed: where a colour cannot exist at a lightness, it is toned down until it can.
"""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]  # [height, width, 3] BGR
Light = NDArray[np.float32]  # [height, width], 0..100
Colour = NDArray[np.float32]  # [height, width, 2]: a, b
Lines = NDArray[np.float32]  # [height, width, 4]: slope of a and b, offset of a and b

# Radius (share of the longer side) and regularity (squared lightness) of the guided filter.
GUIDE_RADIUS = 0.012
GUIDE_REGULARITY = 30.0
STRIP_ROWS = 256  # a full-size picture is joined in strips: memory stays flat
LIGHT_TOLERANCE = 0.35  # L; a colour that moves lightness by more is toned down
TONE_DOWN = (0.75, 0.5, 0.25, 0.0)  # shares of the colour that are tried in turn


def lightness(pixels: Pixels) -> Light:
    """Return L of a BGR picture, 0..100."""
    import cv2

    lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    return np.ascontiguousarray(lab[..., 0], dtype=np.float32)


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


def join(pixels: Pixels, lines: Lines) -> Pixels:
    """Return the picture in colour: the lightness of ``pixels``, the colours of ``lines``."""
    import cv2

    height, width = pixels.shape[:2]
    rows, columns = lines.shape[:2]
    coloured = np.empty_like(pixels)
    # Where a pixel of the full size lies among the small ones: pixel centres onto pixel centres.
    x_step, y_step = columns / width, rows / height
    for top in range(0, height, STRIP_ROWS):
        strip = pixels[top : top + STRIP_ROWS]
        shift = np.array([[x_step, 0, x_step / 2 - 0.5], [0, y_step, (top + 0.5) * y_step - 0.5]])
        large = cv2.warpAffine(
            lines,
            shift,
            (width, len(strip)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        light = lightness(strip)
        colour = large[..., :2] * light[..., None] + large[..., 2:]
        coloured[top : top + STRIP_ROWS] = to_pixels(light, colour.astype(np.float32))
    return coloured


def to_pixels(light: Light, colour: Colour) -> Pixels:
    """Return BGR of this lightness, with as much of the colour as exists at it."""
    pixels = _to_pixels(light, colour)
    wrong = np.abs(lightness(pixels) - light) > LIGHT_TOLERANCE
    for share in TONE_DOWN:
        if not wrong.any():
            break
        part = _to_pixels(light[wrong][None], colour[wrong][None] * np.float32(share))
        pixels[wrong] = part[0]
        still = np.abs(lightness(part) - light[wrong][None]) > LIGHT_TOLERANCE
        wrong[wrong] = still[0]
    return pixels


def _to_pixels(light: Light, colour: Colour) -> Pixels:
    import cv2

    lab = np.dstack([light, colour]).astype(np.float32)
    bgr = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
    return np.rint(np.clip(bgr, 0.0, 1.0) * 255).astype(np.uint8)


def _lines(
    light: Light, values: NDArray[np.float32], *, radius: int, regularity: float
) -> NDArray[np.float32]:
    """Return slopes then offsets, [height, width, 2 * channels]: the guided filter of He et al."""
    guide = light.astype(np.float64)
    mean = _box(guide, radius)
    variance = _box(guide * guide, radius) - mean * mean
    parts: list[NDArray[np.float64]] = []
    offsets: list[NDArray[np.float64]] = []
    for channel in np.moveaxis(values.astype(np.float64), -1, 0):
        channel_mean = _box(channel, radius)
        covariance = _box(guide * channel, radius) - mean * channel_mean
        slope = covariance / (variance + regularity)
        parts.append(_box(slope, radius))
        offsets.append(_box(channel_mean - slope * mean, radius))
    return np.dstack([*parts, *offsets]).astype(np.float32)


def _box(values: NDArray[np.float64], radius: int) -> NDArray[np.float64]:
    import cv2

    side = 2 * radius + 1
    box = cv2.boxFilter(values, cv2.CV_64F, (side, side), borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(box, dtype=np.float64)
