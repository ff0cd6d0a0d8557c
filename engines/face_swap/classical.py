"""The classical swapper: no network, no weights; geometry, colour statistics and gradients.

A source face is turned onto the target face by the similarity of their five points, takes the
target's colours (mean and spread in Lab inside the mask) and is joined in the gradient domain, so
that light and skin tone at the rim come from the target. Only pixels inside the mask change.
"""

import numpy as np
from numpy.typing import NDArray

from engines.face_swap.new_face import Layer, Weights
from engines.face_swap.oval import Window, face_oval
from engines.face_swap.params import Mask
from engines.faces.align.colour import match_colours
from engines.faces.face import Face, Pixels
from engines.faces.geometry import Affine, UnusableFaceError, apply, similarity

FEATHER = 0.10  # softness of the rim, in half axes
# A picture must show at least this share of the face that is to be pasted.
COVERAGE_MIN = 0.5
# Hair, hats and glasses on the rim are not skin: the light they would throw into the face is
# limited to this many 8-bit steps.
RIM_LIMIT = 26.0
RIM_BLUR = 0.06  # of the window's width: thin things on the rim do not count at all
# A target whose colours (Lab a, b) vary by less has none; a source's would stand out.
GREY_SPREAD = 1.5
# Colours of the source this far (Lab a, b) from those of its face, and so many times further than
# the face's own, are not face; the core of the oval always is.
STRANGE_MIN = 14.0
STRANGE_SPREADS = 4.0
STRANGE_CORE = 0.55
STRANGE_BLUR = 0.012  # of the window's width


def lay(target: Pixels, face: Face, source: Pixels, source_face: Face, *, mask: Mask) -> Layer:
    """Turn the source face into a layer for one face of the target.

    Raises:
        UnusableFaceError: The two faces cannot be laid over each other.
    """
    matrix = similarity(source_face.points, face.points)
    ovals = face_oval(face.points), face_oval(apply(matrix, source_face.points))
    window = ovals[0].window()
    # Both must show face: what is cheek in one and background in the other stays as it was.
    radius = np.maximum(*(oval.radius(window, mask=mask) for oval in ovals))
    behind = _cut(target, window)
    pasted, shown = _warp(source, matrix, window)
    oval = radius <= 1.0
    inside = oval & shown & ~_strange(pasted, radius)
    if inside.sum() < COVERAGE_MIN * oval.sum():
        raise UnusableFaceError("the source shows too little of its face; use an uncropped picture")
    if _is_grey(behind):
        pasted = _grey(pasted)
    joined = _join(match_colours(pasted, behind, inside), behind, inside)
    weights = np.minimum(np.clip((1.0 - radius) / FEATHER, 0.0, 1.0), _soften(inside))
    return Layer(window=window, pixels=joined, weights=weights.astype(np.float32))


def _cut(target: Pixels, window: Window) -> Pixels:
    """Return the window of a picture, its border repeated where the window reaches beyond."""
    height, width = target.shape[:2]
    x1, y1, x2, y2 = window
    rows = np.clip(np.arange(y1, y2), 0, height - 1)
    columns = np.clip(np.arange(x1, x2), 0, width - 1)
    return target[np.ix_(rows, columns)]


def _warp(source: Pixels, matrix: Affine, window: Window) -> tuple[Pixels, NDArray[np.bool_]]:
    """Return the source as seen in the window, and which of its pixels the source really shows."""
    import cv2

    x1, y1, x2, y2 = window
    size = (x2 - x1, y2 - y1)
    source, matrix = _shrink(source, matrix)
    shifted = matrix - np.array([[0, 0, x1], [0, 0, y1]], dtype=np.float64)
    # Bicubic keeps an enlarged face from going soft.
    pasted = cv2.warpAffine(
        source, shifted, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    # One pixel less than the source, so that no repeated border takes part.
    whole = np.zeros(source.shape[:2], dtype=np.uint8)
    whole[1:-1, 1:-1] = 255
    shown = cv2.warpAffine(whole, shifted, size, flags=cv2.INTER_NEAREST) > 0
    return np.asarray(pasted, dtype=np.uint8), np.asarray(shown, dtype=np.bool_)


def _shrink(source: Pixels, matrix: Affine) -> tuple[Pixels, Affine]:
    """Shrink a source that the matrix would shrink by more than half, without aliasing."""
    import cv2

    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if scale > 0.5:  # noqa: PLR2004 - bicubic sampling sees two source pixels each way
        return source, matrix
    height, width = source.shape[:2]
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    small = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    # Pixel centres: u = (x + .5) * f - .5 on the small picture.
    fx, fy = size[0] / width, size[1] / height
    back = np.array([[1 / fx, 0.0, 0.5 / fx - 0.5], [0.0, 1 / fy, 0.5 / fy - 0.5], [0, 0, 1]])
    return np.asarray(small, dtype=np.uint8), matrix @ back


def _strange(pasted: Pixels, radius: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return what of the source's oval has another colour than its face and touches the rim.

    That is background beside a cheek, a scarf or coloured hair. Lips and eyes lie inside and stay;
    lightness does not count, so shadows, beards and black-and-white sources stay whole.
    """
    import cv2

    lab = cv2.cvtColor(pasted, cv2.COLOR_BGR2LAB).astype(np.float32)
    sigma = max(0.8, STRANGE_BLUR * pasted.shape[1])
    colours = np.asarray(cv2.GaussianBlur(lab[..., 1:], (0, 0), sigma), dtype=np.float32)
    skin = np.median(colours[radius <= STRANGE_CORE], axis=0)
    distance = np.hypot(*np.moveaxis(colours - skin, -1, 0))
    spread = float(np.median(distance[radius <= STRANGE_CORE]))
    strange = distance > max(STRANGE_MIN, STRANGE_SPREADS * spread)
    # What lies beyond the rim connects everything that touches it.
    _, labels = cv2.connectedComponents((strange | (radius > 1.0)).astype(np.uint8), connectivity=4)
    outside = labels == labels[0, 0]
    return np.asarray(outside & (radius > STRANGE_CORE), dtype=np.bool_)


def _is_grey(behind: Pixels) -> bool:
    """Whether a target has no colour of its own, as old photographs have none, or one tint."""
    import cv2

    colours = cv2.cvtColor(behind, cv2.COLOR_BGR2LAB)[..., 1:].astype(np.float32)
    return float(colours.reshape(-1, 2).std(axis=0).max()) < GREY_SPREAD


def _grey(pixels: Pixels) -> Pixels:
    import cv2

    light = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), dtype=np.uint8)


def _soften(inside: NDArray[np.bool_]) -> Weights:
    """Return weights that rise from the edge of a mask inwards."""
    import cv2

    depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    reach = max(1.5, FEATHER * min(inside.shape) / 2)
    return np.asarray(np.clip(depth / reach, 0.0, 1.0), dtype=np.float32)


def _join(pasted: Pixels, behind: Pixels, inside: NDArray[np.bool_]) -> Pixels:
    """Join both pictures in the gradient domain: gradients of the new, light of the old."""
    import cv2

    mask = inside.astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(mask)
    # The solver centres the mask's bounding box on this point; computed so that nothing moves.
    centre = (x + width // 2, y + height // 2)
    rim = _rim(pasted, behind)
    joined = cv2.seamlessClone(pasted, rim, mask, centre, cv2.NORMAL_CLONE)
    return np.asarray(joined, dtype=np.uint8)


def _rim(pasted: Pixels, behind: Pixels) -> Pixels:
    """Return the new face in the old one's light, as far as the difference can be light."""
    import cv2

    size = min(255, max(3, int(RIM_BLUR * behind.shape[1]) | 1))  # odd, as the filter wants it
    difference = behind.astype(np.float32) - pasted
    steps = np.clip(np.rint(difference / 2 + 128), 0, 255).astype(np.uint8)
    smooth = (cv2.medianBlur(steps, size).astype(np.float32) - 128) * 2
    light = RIM_LIMIT * np.tanh(smooth / RIM_LIMIT)
    lit: Pixels = np.rint(np.clip(pasted + light, 0, 255)).astype(np.uint8)
    return lit
