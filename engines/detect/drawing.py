"""Boxes and names on a picture, legible on any background and at any size."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines.detect.detection import Detection, Pixels

_TEXT_SHARE = 0.024  # of the picture's shorter side
_TEXT_MIN_PX, _TEXT_MAX_PX = 11, 48
_LINE_SHARE = 0.0035
_GOLDEN = 0.618034  # turns class ids into hues far apart
_DARK_TEXT_ABOVE = 140  # luminance, 0..255

Colour = tuple[int, int, int]  # blue, green, red


class Painter:
    """Draws detections; made once per picture size, because fonts are loaded for a size."""

    def __init__(self, *, width: int, height: int) -> None:
        side = min(width, height)
        text_px = min(max(round(side * _TEXT_SHARE), _TEXT_MIN_PX), _TEXT_MAX_PX)
        self._line_px = max(round(side * _LINE_SHARE), 1)
        self._font = ImageFont.load_default(text_px)  # a scalable face inside Pillow
        self._margin_px = max(text_px // 5, 2)

    def draw(self, pixels: Pixels, detections: Sequence[Detection]) -> Pixels:
        """A copy of the picture with every detection; the weakest is drawn first, below."""
        import cv2

        canvas = pixels.copy()
        ordered = list(reversed(detections))
        for detection in ordered:
            x1, y1, x2, y2 = (round(value) for value in detection.box)
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour_of(detection.class_id), self._line_px)
        # names come last: no box may cross them
        for detection in ordered:
            self._write(canvas, detection)
        return canvas

    def _write(self, canvas: Pixels, detection: Detection) -> None:
        patch = self._patch(detection)
        height, width = patch.shape[:2]
        left, top = round(detection.box[0]), round(detection.box[1])
        # above the box, or inside it where there is no room; always within the picture
        y = top - height if top >= height else top
        x = min(left, canvas.shape[1] - width)
        x, y = max(x, 0), max(min(y, canvas.shape[0] - height), 0)
        target = canvas[y : y + height, x : x + width]
        target[:] = patch[: target.shape[0], : target.shape[1]]

    def _patch(self, detection: Detection) -> Pixels:
        """The name and confidence on the colour of the class, BGR."""
        text = f"{detection.label} {detection.confidence:.2f}"
        blue, green, red = colour_of(detection.class_id)
        left, top, right, bottom = self._font.getbbox(text)
        margin = self._margin_px
        size = (round(right - left) + 2 * margin, round(bottom - top) + 2 * margin)
        image = Image.new("RGB", size, (red, green, blue))
        luminance = 0.299 * red + 0.587 * green + 0.114 * blue
        ink = (0, 0, 0) if luminance > _DARK_TEXT_ABOVE else (255, 255, 255)
        ImageDraw.Draw(image).text((margin - left, margin - top), text, ink, font=self._font)
        return np.asarray(image)[:, :, ::-1]


def colour_of(class_id: int) -> Colour:
    """The colour of a class: always the same, neighbours far apart."""
    hue = (0.33 + class_id * _GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return (round(blue * 255), round(green * 255), round(red * 255))
