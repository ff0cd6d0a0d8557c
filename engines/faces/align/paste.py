"""Lay a changed crop back over the picture it was cut from; only its own region is touched."""

import numpy as np
from numpy.typing import NDArray

from engines.faces.align.crop import Crop
from engines.faces.face import Pixels
from engines.faces.geometry import Affine, apply, inverse

Floats = NDArray[np.float32]
Region = tuple[int, int, int, int]  # x1, y1, x2, y2 in whole pixels, inside the picture

# Bilinear sampling sees two pixels each way: of a crop that shrinks by more, it would skip some.
SHRINK_MIN = 0.5


def paste(
    picture: Pixels, crop: Crop | Floats, matrix: Affine, mask: Floats, *, blend: float = 1.0
) -> Region | None:
    """Lay a crop over the picture, in place, and say where.

    Computed in float and rounded once: ``behind + (new - behind) * mask * blend``. Outside the
    region nothing is read or written, and where the mask is 0 the picture keeps its bytes.

    Args:
        picture: [height, width, 3] BGR; changed.
        crop: [side, side, 3] BGR 0..255, of any float or 8-bit type.
        matrix: from the picture to the crop, as ``Crop.matrix``.
        mask: [side, side] of the crop's side, 0 (keep) to 1 (replace).
        blend: share of the new face.

    Returns:
        The region; None when the crop lies outside the picture.

    Raises:
        UnusableFaceError: the matrix cannot be turned round.
    """
    new = np.asarray(crop.pixels if isinstance(crop, Crop) else crop, dtype=np.float32)
    if new.shape[:2] != mask.shape:
        raise ValueError(f"a mask of {mask.shape} does not lie over a crop of {new.shape[:2]}")
    region = crop_region(matrix, size=new.shape[0], picture=picture)
    if region is None:
        return None
    new, mask, back = _shrunk(new, np.asarray(mask, dtype=np.float32), inverse(matrix))
    x1, y1, x2, y2 = region
    shown, share = _seen(new, mask, back, region)
    behind = picture[y1:y2, x1:x2]
    picture[y1:y2, x1:x2] = _mixed(behind, shown, share, blend)
    return region


def crop_region(matrix: Affine, *, size: int, picture: Pixels) -> Region | None:
    """The box around a crop's corners, in whole pixels of the picture and clipped to it."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [size, 0], [size, size], [0, size]], dtype=np.float64)
    seen = apply(inverse(matrix), corners)
    low, high = np.floor(seen.min(axis=0)), np.ceil(seen.max(axis=0))
    x1, y1 = max(0, int(low[0])), max(0, int(low[1]))
    x2, y2 = min(width, int(high[0]) + 1), min(height, int(high[1]) + 1)
    return None if x1 >= x2 or y1 >= y2 else (x1, y1, x2, y2)


def _seen(new: Floats, mask: Floats, back: Affine, region: Region) -> tuple[Floats, Floats]:
    """Crop and mask as they lie in the region."""
    import cv2

    x1, y1, x2, y2 = region
    moved = back - np.array([[0, 0, x1], [0, 0, y1]], dtype=np.float64)
    size = (x2 - x1, y2 - y1)
    shown = cv2.warpAffine(new, moved, size, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask, moved, size, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(shown, dtype=np.float32), np.asarray(share, dtype=np.float32)


def _mixed(behind: Pixels, shown: Floats, share: Floats, blend: float) -> Pixels:
    """Both pictures in their shares, rounded and kept within bytes; ``shown`` is used up."""
    import cv2

    shown -= behind
    shown *= cv2.merge([share * np.float32(blend)] * 3)  # broadcasting takes twice as long
    shown += behind
    return np.rint(np.clip(shown, 0, 255, out=shown), out=shown).astype(np.uint8)


def _shrunk(new: Floats, mask: Floats, back: Affine) -> tuple[Floats, Floats, Affine]:
    """Average a crop down first where it is much larger than the face it goes onto."""
    import cv2

    scale = float(np.hypot(back[0, 0], back[1, 0]))
    if scale >= SHRINK_MIN:
        return new, mask, back
    size = max(2, round(new.shape[0] * scale))
    small = cv2.resize(new, (size, size), interpolation=cv2.INTER_AREA)
    small_mask = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    factor = new.shape[0] / size
    # pixel centres: u = (x + .5) * factor - .5 on the large crop
    grow = np.array([[factor, 0, factor / 2 - 0.5], [0, factor, factor / 2 - 0.5], [0, 0, 1]])
    return np.asarray(small, np.float32), np.asarray(small_mask, np.float32), back @ grow
