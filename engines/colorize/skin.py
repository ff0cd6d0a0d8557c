"""Where a picture shows skin, told from its faces, and what colour skin has: ``builtin-skin@1``.

Skin lies in the oval of a face and where the picture goes on from there in much the same light
(ears, neck). The map follows the edges of the picture, so hair, collars and backgrounds stay out.
"""

from collections.abc import Sequence

import numpy as np

from engines.colorize.chroma import Colour, Light, guided_filter
from engines.faces.face import Face, Points

NAME = "builtin-skin@1"

# Colour of skin over its lightness: deep tones are redder and fuller, light ones pale.
SKIN_L = (0.0, 15.0, 35.0, 60.0, 80.0, 100.0)
SKIN_A = (1.0, 7.0, 12.5, 13.0, 9.0, 2.0)
SKIN_B = (1.0, 9.0, 15.5, 17.0, 12.0, 4.0)
LIPS_A = 7.0  # lips are this much redder

# The oval of a face in eye distances and eye-mouth distances around its middle.
OVAL_DOWN, OVAL_WIDTH, OVAL_HEIGHT = 0.40, 1.22, 1.65
NECK_DOWN, NECK_WIDTH, NECK_HEIGHT = 2.1, 0.75, 0.8
LIGHT_SPREADS = 1.9  # skin differs from the face's middle lightness by at most so many spreads
LIGHT_SPREAD_MIN = 7.0
LIGHT_FADE = 8.0


def skin_map(light: Light, faces: Sequence[Face]) -> Light:
    """Return how much of each pixel is skin, 0..1.

    Args:
        light: lightness, 0..100.
        faces: with points in pixels of ``light``.
    """
    skin = np.zeros(light.shape, np.float32)
    for face in faces:
        skin = np.maximum(skin, _face_skin(light, face))
    if not skin.any():
        return skin
    radius = max(2, round(0.008 * max(light.shape)))
    return np.clip(guided_filter(light, skin, radius=radius, regularity=40.0), 0.0, 1.0)


def skin_colour(light: Light, faces: Sequence[Face]) -> Colour:
    """Return the colour of skin at each lightness, lips redder."""
    a = np.interp(light, SKIN_L, SKIN_A).astype(np.float32)
    b = np.interp(light, SKIN_L, SKIN_B).astype(np.float32)
    for face in faces:
        a += LIPS_A * _lips(light.shape, face.points)
    return np.dstack([a, b])


def _face_skin(light: Light, face: Face) -> Light:
    eyes, mouth = face.points[:2].mean(axis=0), face.points[3:].mean(axis=0)
    eye_line, down = face.points[1] - face.points[0], mouth - eyes
    width, height = float(np.hypot(*eye_line)), float(np.hypot(*down))
    oval = _blob(light.shape, eyes + OVAL_DOWN * down, eye_line, (width, height), _OVAL)
    neck = _blob(light.shape, eyes + NECK_DOWN * down, eye_line, (width, height), _NECK)
    core = light[oval > 0.9]  # noqa: PLR2004 - clearly inside
    if not core.size:
        return np.zeros(light.shape, np.float32)
    middle = float(np.median(core))
    spread = max(LIGHT_SPREAD_MIN, 1.48 * float(np.median(np.abs(core - middle))))
    # Shine may be much lighter than skin; hair, brows and shadows are darker.
    beyond = np.maximum(0.0, middle - light - LIGHT_SPREADS * spread)
    beyond = np.maximum(beyond, light - middle - 2 * LIGHT_SPREADS * spread)
    alike = np.clip(1.0 - beyond / LIGHT_FADE, 0.0, 1.0)
    return np.asarray(np.maximum(oval, 0.8 * neck) * alike, dtype=np.float32)


_OVAL = (OVAL_WIDTH, OVAL_HEIGHT)
_NECK = (NECK_WIDTH, NECK_HEIGHT)
_LIPS = (0.62, 0.24)


def _lips(shape: tuple[int, ...], points: Points) -> Light:
    mouth_line = points[4] - points[3]
    width = float(np.hypot(*mouth_line))
    return _blob(shape, points[3:].mean(axis=0), mouth_line, (width, width), _LIPS)


def _blob(
    shape: tuple[int, ...],
    centre: Points,
    along: Points,
    size: tuple[float, float],
    axes: tuple[float, float],
) -> Light:
    """A turned ellipse with a soft rim: 1 inside, 0 outside."""
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    xs, ys = xs - centre[0], ys - centre[1]
    length = max(float(np.hypot(*along)), 1e-6)
    cos, sin = along / length
    across = (xs * cos + ys * sin) / max(size[0] * axes[0], 1e-6)
    down = (ys * cos - xs * sin) / max(size[1] * axes[1], 1e-6)
    radius = np.hypot(across, down)
    return np.asarray(np.clip((1.0 - radius) / 0.2, 0.0, 1.0), dtype=np.float32)
