"""Fit a picture into the canvas of a network and bring boxes back."""

from dataclasses import dataclass

import numpy as np

from engines.detect.detection import Floats, Pixels

PAD_GREY = 114


@dataclass(frozen=True, slots=True)
class Fit:
    """Where a picture lies on a canvas, in whole pixels."""

    canvas: tuple[int, int]  # height, width
    picture: tuple[int, int]  # height, width before scaling
    scaled: tuple[int, int]  # height, width on the canvas
    top: int
    left: int

    def to_picture(self, boxes: Floats) -> Floats:
        """Boxes [n, 4] x1 y1 x2 y2 from canvas to picture pixels, clipped to the picture."""
        return self.points_to_picture(boxes.reshape(-1, 2)).reshape(-1, 4)

    def points_to_picture(self, points: Floats) -> Floats:
        """Points [..., 2] x y from canvas to picture pixels, clipped to the picture.

        Width and height were rounded separately when scaling, so each has its own gain.
        """
        height, width = self.picture
        gain_x, gain_y = self.scaled[1] / width, self.scaled[0] / height
        moved = points - np.array([self.left, self.top], dtype=np.float32)
        back = moved / np.array([gain_x, gain_y], dtype=np.float32)
        clipped: Floats = np.clip(back, 0, np.array([width, height], dtype=np.float32))
        return clipped


def fit_centred(picture: tuple[int, int], canvas: tuple[int, int]) -> Fit:
    """YOLOv8: scaled up or down to touch the canvas, rounded, padding shared by both sides."""
    height, width = picture
    ratio = min(canvas[0] / height, canvas[1] / width)
    scaled = (max(round(height * ratio), 1), max(round(width * ratio), 1))
    # the same halving as the reference: of an odd padding the far side gets the extra pixel
    top = round((canvas[0] - scaled[0]) / 2 - 0.1)
    left = round((canvas[1] - scaled[1]) / 2 - 0.1)
    return Fit(canvas=canvas, picture=picture, scaled=scaled, top=top, left=left)


def fit_corner(picture: tuple[int, int], canvas: tuple[int, int]) -> Fit:
    """YOLOX: scaled to touch the canvas, cut to whole pixels, laid into the top left corner."""
    height, width = picture
    ratio = min(canvas[0] / height, canvas[1] / width)
    scaled = (max(int(height * ratio), 1), max(int(width * ratio), 1))
    return Fit(canvas=canvas, picture=picture, scaled=scaled, top=0, left=0)


def lay_out(pixels: Pixels, fit: Fit) -> Pixels:
    """The canvas [height, width, 3] with the scaled picture on grey."""
    import cv2

    height, width = fit.scaled
    canvas = np.full((*fit.canvas, 3), PAD_GREY, dtype=np.uint8)
    inside = canvas[fit.top : fit.top + height, fit.left : fit.left + width]
    if fit.scaled == fit.picture:
        inside[:] = pixels
    else:
        inside[:] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return canvas
