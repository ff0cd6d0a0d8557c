"""From pixels to the numbers of a network and back."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Crops = NDArray[np.uint8]  # [n, size, size, 3] BGR
Drawn = NDArray[np.float32]  # [n, size, size, 3] BGR, 0..255, not rounded
Triple = tuple[float, float, float]


class Colour(StrEnum):
    """The order of a network's three planes."""

    RGB = "rgb"
    BGR = "bgr"


@dataclass(frozen=True, slots=True)
class Scaling:
    """A value is ``(pixel - mean) / std``, in the order of ``colour``."""

    colour: Colour
    mean: Triple
    std: Triple

    def feed(self, crops: NDArray[Any], *, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Crops [n, h, w, 3] BGR as planes [n, 3, h, w], float32 unless the network wants other."""
        import cv2

        # OpenCV multiplies by one number; scales that differ follow behind
        size, even = (crops.shape[2], crops.shape[1]), self.is_even
        planes = cv2.dnn.blobFromImages(
            list(crops),
            1 / self.std[0] if even else 1.0,
            size,
            self.mean,
            swapRB=self.colour is Colour.RGB,
        )
        if not even:
            planes = np.multiply(planes, np.float32(1) / _planes(self.std))
        return np.asarray(planes, dtype=dtype)

    @property
    def is_even(self) -> bool:
        """Whether all planes are scaled alike."""
        return len(set(self.std)) == 1

    def pixels(self, values: NDArray[Any]) -> Drawn:
        """Planes [n, 3, h, w] as crops [n, h, w, 3] BGR within 0 and 255."""
        planes = values.astype(np.float32) * _planes(self.std) + _planes(self.mean)
        if self.colour is Colour.RGB:
            planes = planes[:, ::-1]
        return np.ascontiguousarray(np.clip(planes, 0, 255).transpose(0, 2, 3, 1))


def _planes(values: Triple) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32).reshape(1, 3, 1, 1)
