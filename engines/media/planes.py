"""Pictures as most video stores them: a plane of light, two of colour at half the size.

Frames of such a video go through our pipes as they are, half the bytes of BGR; what an engine looks
at becomes BGR here, and what it made goes back. The numbers follow the tags of the file.
"""

import threading
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engines.media.streams import Picture

Pixels = NDArray[np.uint8]  # height x width x 3, BGR
Planes = NDArray[np.uint8]  # height * 3 / 2 x width: Y, then U, then V, each without gaps

_FORMATS = frozenset({"yuv420p", "yuvj420p"})
# Shares of red and blue in light; ITU-R BT.601, BT.709, BT.2020, FCC 73.682, SMPTE 240M.
_BT601 = (0.299, 0.114)
_SHARES = {
    "bt709": (0.2126, 0.0722),
    "bt2020nc": (0.2627, 0.0593),
    "bt2020c": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
_TWICE = 0x0101  # times a byte: the same byte twice
_MIDDLE = 128  # of U and V: no colour


def in_planes(picture: Picture, width: int, height: int) -> bool:
    """Whether a video's frames can stay in planes: 8 bits, 4:2:0, even sides."""
    return picture.pixel_format in _FORMATS and not width % 2 and not height % 2


@dataclass(frozen=True)
class Conversion:
    """Between planes and BGR, by the matrix and range of one video.

    Chroma of 2 x 2 pixels is one value: repeated on the way to BGR and averaged on the way back, so
    that a picture nobody changed comes back within a rounding step.
    """

    matrix: str  # as ffmpeg names it; what is unknown or rare counts as BT.601
    full: bool  # 0..255 rather than 16..235
    _room: threading.local = field(default_factory=threading.local, repr=False, compare=False)

    @classmethod
    def of(cls, picture: Picture) -> "Conversion":
        """As the tags of a video say."""
        return cls(picture.colour.matrix, picture.colour.range == "pc")

    def bgr(self, planes: Planes) -> Pixels:
        """Return the picture of ``planes``."""
        import cv2

        height, width = planes.shape[0] * 2 // 3, planes.shape[1]
        halves = planes[height:].reshape(2, height // 2, width // 2)
        colour = self._scratch("colour", (2, height, width))
        pairs = np.multiply(halves, _TWICE, dtype=np.uint16)
        rows = colour.view(np.uint16).reshape(2, height // 2, 2, width // 2)
        rows[:, :, 0], rows[:, :, 1] = pairs, pairs
        together = self._scratch("together", (height, width, 3))
        cv2.merge([planes[:height], *colour], together)
        # Not in place: OpenCV would copy all of it first.
        return np.asarray(cv2.transform(together, self._to_bgr), np.uint8)

    def planes(self, pixels: Pixels) -> Planes:
        """Return a picture of even sides in planes."""
        import cv2

        height, width = pixels.shape[:2]
        together = self._scratch("together", (height, width, 3))
        colour = self._scratch("colour", (2, height, width))
        planes = np.empty((height * 3 // 2, width), np.uint8)
        halves = planes[height:].reshape(2, height // 2, width // 2)
        cv2.transform(pixels, self._from_bgr, together)
        cv2.split(together, [planes[:height], *colour])
        for full, half in zip(colour, halves, strict=True):
            cv2.resize(full, (width // 2, height // 2), half, interpolation=cv2.INTER_AREA)
        return planes

    def _scratch(self, name: str, shape: tuple[int, ...]) -> Planes:
        """Room for what lies between; new room for every frame costs as much as the arithmetic."""
        kept: Planes | None = getattr(self._room, name, None)
        if kept is None or kept.shape != shape:
            kept = np.empty(shape, np.uint8)
            setattr(self._room, name, kept)
        return kept

    @cached_property
    def _to_bgr(self) -> NDArray[np.float64]:
        inverse = np.linalg.inv(self._from_bgr[:, :3])
        return np.hstack([inverse, -inverse @ self._from_bgr[:, 3:]])

    @cached_property
    def _from_bgr(self) -> NDArray[np.float64]:
        """Rows Y, U, V; columns B, G, R and what is added."""
        red, blue = _SHARES.get(self.matrix, _BT601)
        light = np.array([blue, 1 - red - blue, red])
        u = (np.array([1, 0, 0]) - light) / (2 * (1 - blue))
        v = (np.array([0, 0, 1]) - light) / (2 * (1 - red))
        scale, foot = (np.ones(3), 0) if self.full else (np.array([219, 224, 224]) / 255, 16)
        return np.column_stack([np.stack([light, u, v]) * scale[:, None], [foot, _MIDDLE, _MIDDLE]])
