"""Cut a face out of a picture in the position of a template."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from engines.faces.align.templates import Template, template_points
from engines.faces.face import Pixels, Points
from engines.faces.geometry import Affine, similarity


class Border(StrEnum):
    """What a crop shows where it reaches beyond the picture."""

    BLACK = "black"  # as the InsightFace networks were trained
    REPEAT = "repeat"  # the picture's last pixels: what a restorer likes better than an edge


@dataclass(frozen=True, slots=True, eq=False)
class Crop:
    """A face in standard position."""

    pixels: Pixels  # [size, size, 3] BGR
    matrix: Affine  # from pixels of the picture to those of the crop

    @property
    def size(self) -> int:
        """Side in pixels."""
        return int(self.pixels.shape[0])


def crop_matrix(points: Points, *, template: Template, size: int) -> Affine:
    """The [2, 3] similarity from a face's five points [5, 2] to the template's.

    Raises:
        UnusableFaceError: the points fix no position.
    """
    return similarity(points, template_points(template, size=size))


def crop_face(
    pixels: Pixels, points: Points, *, template: Template, size: int, border: Border = Border.BLACK
) -> Crop:
    """Cut one face [size, size, 3] out, bilinear as the reference does.

    Raises:
        UnusableFaceError: the points fix no position.
    """
    return cut(pixels, crop_matrix(points, template=template, size=size), size=size, border=border)


def cut(pixels: Pixels, matrix: Affine, *, size: int, border: Border = Border.BLACK) -> Crop:
    """The square that a matrix brings to the origin."""
    import cv2

    mode = cv2.BORDER_CONSTANT if border is Border.BLACK else cv2.BORDER_REPLICATE
    seen = cv2.warpAffine(pixels, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=mode)
    return Crop(np.asarray(seen, dtype=np.uint8), matrix)


def stacked(crops: Sequence[Crop]) -> NDArray[np.uint8]:
    """Crops of one size as one array [n, size, size, 3], as the networks take them."""
    return np.stack([crop.pixels for crop in crops])
