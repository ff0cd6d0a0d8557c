"""A new face as it will lie over a picture, and laying it there.

The classical swapper makes a ``Layer``, pixels of the picture itself; networks make a ``Patch``, a
crop in standard position that is turned back when it is laid down.
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from engines.face_swap.oval import Window
from engines.faces.align.crop import Crop
from engines.faces.align.paste import paste
from engines.faces.face import Pixels
from engines.faces.geometry import Affine, inverse

Weights = NDArray[np.float32]  # [height, width], 0..1


class NewFace(Protocol):
    """What a swapper made for one face."""

    @property
    def pixels(self) -> Pixels:
        """BGR, in a position of its own."""

    @property
    def scale(self) -> float:
        """Pixels of the new face for one of the picture."""

    def repainted(self, pixels: Pixels) -> Self:
        """The same face with other pixels of the same shape."""

    def view(self, matrix: Affine, *, size: int) -> Pixels:
        """The new face alone [size, size, 3], as a crop with this matrix shows it."""

    def restrict(self, mask: Weights, matrix: Affine) -> Self:
        """The same face where the mask [side, side] of a crop with this matrix shows it too."""

    def compose(self, picture: Pixels, *, blend: float) -> None:
        """Lay it over the picture, in place; ``blend`` 0..1 is the share of the new face."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """Pixels of a window of the picture; the window may reach beyond it."""

    window: Window
    pixels: Pixels  # [y2 - y1, x2 - x1, 3]
    weights: Weights  # [y2 - y1, x2 - x1]; 0 keeps the target

    @property
    def scale(self) -> float:
        """As ``NewFace``."""
        return 1.0

    def repainted(self, pixels: Pixels) -> "Layer":
        """As ``NewFace``."""
        return replace(self, pixels=pixels)

    def view(self, matrix: Affine, *, size: int) -> Pixels:
        """As ``NewFace``; beyond the window its last pixels are repeated."""
        return _warped(self.pixels, matrix @ _shift(self.window, sign=1), (size, size))

    def restrict(self, mask: Weights, matrix: Affine) -> "Layer":
        """As ``NewFace``."""
        x1, y1, x2, y2 = self.window
        back = _shift(self.window, sign=-1) @ _square(inverse(matrix))
        seen = _warped(mask, back[:2], (x2 - x1, y2 - y1))
        return replace(self, weights=np.minimum(self.weights, seen))

    def compose(self, picture: Pixels, *, blend: float) -> None:
        """As ``NewFace``."""
        height, width = picture.shape[:2]
        x1, y1, x2, y2 = self.window
        left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
        if left >= right or top >= bottom:
            return
        part = np.s_[top - y1 : bottom - y1, left - x1 : right - x1]
        share = self.weights[part][..., None] * np.float32(blend)
        behind = picture[top:bottom, left:right]
        mixed = behind + (self.pixels[part].astype(np.float32) - behind) * share
        picture[top:bottom, left:right] = np.rint(mixed).astype(np.uint8)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """A crop in the standard position of a network."""

    pixels: Pixels  # [side, side, 3]
    matrix: Affine  # from the picture to the crop
    mask: Weights  # [side, side]; 0 keeps the target

    @property
    def scale(self) -> float:
        """As ``NewFace``."""
        return float(np.hypot(self.matrix[0, 0], self.matrix[1, 0]))

    def repainted(self, pixels: Pixels) -> "Patch":
        """As ``NewFace``."""
        return replace(self, pixels=pixels)

    def view(self, matrix: Affine, *, size: int) -> Pixels:
        """As ``NewFace``; beyond the crop its last pixels are repeated."""
        return _warped(self.pixels, matrix @ _square(inverse(self.matrix)), (size, size))

    def restrict(self, mask: Weights, matrix: Affine) -> "Patch":
        """As ``NewFace``."""
        seen = _warped(mask, self.matrix @ _square(inverse(matrix)), self.mask.shape[::-1])
        return replace(self, mask=np.minimum(self.mask, seen))

    def compose(self, picture: Pixels, *, blend: float) -> None:
        """As ``NewFace``."""
        paste(picture, Crop(self.pixels, self.matrix), self.matrix, self.mask, blend=blend)


def _warped(pixels: NDArray[Any], matrix: Affine, size: tuple[int, ...]) -> NDArray[Any]:
    import cv2

    return np.asarray(cv2.warpAffine(pixels, matrix, size, borderMode=cv2.BORDER_REPLICATE))


def _square(matrix: Affine) -> NDArray[np.float64]:
    """A [2, 3] matrix as [3, 3], so that it can be multiplied."""
    return np.vstack([matrix, [0.0, 0.0, 1.0]])


def _shift(window: Window, *, sign: int) -> NDArray[np.float64]:
    """From pixels of a window to those of the picture; with ``sign`` -1 the way back."""
    return np.array([[1, 0, sign * window[0]], [0, 1, sign * window[1]], [0, 0, 1]], np.float64)
