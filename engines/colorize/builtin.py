"""The built-in colouriser: no network, a muted palette guided by light, place and texture.

It looks for open sky (bright, smooth, touching the upper border), leaves (rough in all directions,
of middle lightness) and skin (from faces). All else takes the colours old prints are tinted with:
warm stone in the middle tones, neutral blacks, ivory whites. It guesses; it knows no objects.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.colorize.chroma import Colour, Light, guided_filter
from engines.colorize.skin import skin_colour, skin_map
from engines.faces.face import Face

# Colours over lightness; each row: at L, a, b.
STONE = ((0, 0, 0), (12, 1.5, 2), (35, 4, 10), (60, 3.5, 12), (80, 2, 9), (95, 0.5, 4), (100, 0, 1))
SKY = ((0, -2, -14), (40, -4, -32), (65, -7, -31), (80, -7, -24), (92, -4, -12), (100, 0, -1))
LEAVES = ((0, -1, 2), (20, -6, 9), (45, -9, 17), (70, -8, 17), (90, -3, 9), (100, 0, 2))
CLOTH = ((0, 0, -2), (15, 1, -8), (35, 0, -11), (55, -1, -8), (75, 0, -3), (90, 0, 2), (100, 0, 1))

SKY_LIGHT_MIN = 52.0
SKY_ROUGHNESS_MAX = 3.2  # L, standard deviation in a small neighbourhood
SKY_SHARE_MIN = 0.06  # of the picture; smaller patches are windows and gaps
SKY_TOP_MIN = 0.25  # share of the width that is open in the upper quarter
SKY_LOWEST = 0.75  # share of the height that sky may reach down to
LEAVES_ROUGHNESS = (5.0, 11.0)  # L; from none to full
# Share of edges along the axes of the picture: masonry is 0.3 and more, leaves nearer 0.
LEAVES_AXES = (0.30, 0.08)  # from none to full
PORTRAIT_SHARE = 0.02  # faces that fill this much of a picture leave no room for trees
# Below this share of the picture what looks like leaves is hair, rubble or a suit.
LEAVES_SHARE = (0.22, 0.30)  # from none to full
LEAVES_LIGHT = (12.0, 72.0)


def paint(light: Light, faces: Sequence[Face]) -> Colour:
    """Return believable, muted colours for a lightness picture.

    Args:
        light: [height, width], 0..100.
        faces: with points in pixels of ``light``; they get skin, and cloth below them.
    """
    roughness = _roughness(light)
    sky = _sky(light, roughness)
    skin = skin_map(light, faces)
    portrait = min(1.0, float(skin.mean()) / PORTRAIT_SHARE)
    leaves = _leaves(light, roughness) * (1 - sky) * (1 - portrait)
    cloth = _cloth(light, faces)
    colour = _tones(light, STONE)
    for weights, layer in (
        (leaves, _tones(light, LEAVES)),
        (cloth, _tones(light, CLOTH)),
        (sky, _tones(light, SKY)),
        (skin, skin_colour(light, faces)),
    ):
        colour += (layer - colour) * weights[..., None]
    return colour


def _tones(light: Light, curve: tuple[tuple[float, float, float], ...]) -> Colour:
    at, a, b = zip(*curve, strict=True)
    return np.dstack([np.interp(light, at, a), np.interp(light, at, b)]).astype(np.float32)


def _roughness(light: Light) -> Light:
    """Standard deviation of lightness around each pixel."""
    import cv2

    sigma = max(1.0, max(light.shape) / 170)
    mean = cv2.GaussianBlur(light, (0, 0), sigma)
    square = cv2.GaussianBlur(light * light, (0, 0), sigma)
    return np.sqrt(np.maximum(square - mean * mean, 0.0)).astype(np.float32)


def _sky(light: Light, roughness: Light) -> Light:
    """Bright smooth areas that touch the upper border, faded towards their lower end."""
    import cv2

    height, width = light.shape
    candidate = (light > SKY_LIGHT_MIN) & (roughness < SKY_ROUGHNESS_MAX)
    candidate[int(SKY_LOWEST * height) :] = False
    border = height // 50  # frames and scan edges do not hide the sky
    candidate[:border] = candidate[border]
    _, labels = cv2.connectedComponents(candidate.astype(np.uint8), connectivity=4)
    touching = np.unique(labels[border, candidate[border]])
    sky = np.isin(labels, touching[touching > 0])
    if sky.mean() < SKY_SHARE_MIN or not _is_open(sky, width):
        return np.zeros(light.shape, np.float32)
    radius = max(4, round(0.02 * max(light.shape)))
    grown = cv2.dilate(sky.astype(np.uint8), np.ones((5, 5), np.uint8))
    spread = np.asarray(grown, dtype=np.float32)
    soft = np.clip(guided_filter(light, spread, radius=radius, regularity=25.0), 0.0, 1.0)
    fade = np.interp(np.arange(height) / height, (0.25, SKY_LOWEST), (1.0, 0.55))
    return np.asarray(soft * fade[:, None], dtype=np.float32)


def _is_open(sky: NDArray[np.bool_], width: int) -> bool:
    """Sky is widest at the top; a lit wall or a floor is not."""
    rows = sky.sum(axis=1) / width
    quarter = max(1, len(rows) // 4)
    top, below = rows[:quarter].mean(), rows[quarter:].mean()
    return bool(top >= max(below, SKY_TOP_MIN))


def _leaves(light: Light, roughness: Light) -> Light:
    """Rough areas of middle lightness whose edges do not follow the axes of the picture."""
    import cv2

    dx, dy = cv2.Sobel(light, cv2.CV_32F, 1, 0), cv2.Sobel(light, cv2.CV_32F, 0, 1)
    strength = np.hypot(dx, dy)
    sigma = max(2.0, max(light.shape) / 45)
    # The fourth harmonic of the angle is 1 along both axes, -1 on both diagonals.
    aligned = cv2.GaussianBlur(strength * np.cos(4 * np.arctan2(dy, dx)), (0, 0), sigma)
    axes = aligned / np.maximum(cv2.GaussianBlur(strength, (0, 0), sigma), 1e-3)
    mean = cv2.GaussianBlur(light, (0, 0), sigma)
    inside = (mean > LEAVES_LIGHT[0]) & (mean < LEAVES_LIGHT[1])
    leaves = _ramp(roughness, LEAVES_ROUGHNESS) * _ramp(axes, LEAVES_AXES) * inside
    soft = np.clip(cv2.GaussianBlur(leaves, (0, 0), sigma) * 1.3, 0.0, 0.85)
    return np.asarray(soft * _ramp(soft.mean(), LEAVES_SHARE), dtype=np.float32)


def _ramp(values: Light | np.floating[Any], span: tuple[float, float]) -> Light:
    """0 at the first value of the span, 1 at the second, straight between."""
    low, high = span
    return np.asarray(np.clip((values - low) / (high - low), 0.0, 1.0), dtype=np.float32)


def _cloth(light: Light, faces: Sequence[Face]) -> Light:
    """The body below each face, where it is darker than the face."""
    cloth = np.zeros(light.shape, np.float32)
    ys, xs = np.mgrid[0 : light.shape[0], 0 : light.shape[1]].astype(np.float32)
    for face in faces:
        x1, _, x2, y2 = face.box
        width, chin = max(x2 - x1, 1.0), y2
        beside = np.abs(xs - (x1 + x2) / 2) / width
        below = (ys - chin) / width
        body = np.clip((1.7 - beside) / 0.5, 0, 1) * np.clip(below / 0.4, 0, 1)
        cloth = np.maximum(cloth, body * np.clip((4.0 - below) / 1.0, 0, 1))
    if not faces:
        return cloth
    radius = max(3, round(0.02 * max(light.shape)))
    dark = np.clip((60.0 - light) / 20.0, 0.0, 1.0)
    soft = guided_filter(light, cloth * dark, radius=radius, regularity=60.0)
    return np.clip(soft, 0.0, 0.9).astype(np.float32)
