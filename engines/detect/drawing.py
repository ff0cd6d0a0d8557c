"""Boxes, names, masks and skeletons on a picture, legible on any background and at any size."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from engines.detect.detection import Detection, Pixels

_TEXT_SHARE = 0.024  # of the picture's shorter side
_TEXT_MIN_PX, _TEXT_MAX_PX = 11, 48
_LINE_SHARE = 0.0035
_GOLDEN = 0.618034  # turns class ids into hues far apart
_TINT = 0.45  # of the class's colour in a mask
_SEEN_ABOVE = 0.5  # of a keypoint's visibility
_PAIR = 2
_WHITE = (255, 255, 255)
_BODY_POINTS = 17  # of COCO: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles
_BONES = (
    *((0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),  # head and neck
    *((5, 6), (5, 7), (7, 9), (6, 8), (8, 10)),  # arms
    *((5, 11), (6, 12), (11, 12)),  # trunk
    *((11, 13), (13, 15), (12, 14), (14, 16)),  # legs
)
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
            _tint(canvas, detection)
        for detection in ordered:
            self._join(canvas, detection)
            x1, y1, x2, y2 = (round(value) for value in detection.box)
            cv2.rectangle(canvas, (x1, y1), (x2, y2), colour_of(detection.class_id), self._line_px)
        # names come last: no box may cross them
        for detection in ordered:
            self._write(canvas, detection)
        return canvas

    def _join(self, canvas: Pixels, detection: Detection) -> None:
        """The points of a body that are seen, and the bones between them."""
        import cv2

        points = [
            (round(point[0]), round(point[1])) if _is_seen(point) else None
            for point in detection.keypoints or ()
        ]
        colour = colour_of(detection.class_id)
        for first, second in _BONES if len(points) == _BODY_POINTS else ():
            begin, end = points[first], points[second]
            if begin is not None and end is not None:
                cv2.line(canvas, begin, end, _WHITE, self._line_px + 2, cv2.LINE_AA)
                cv2.line(canvas, begin, end, colour, self._line_px, cv2.LINE_AA)
        for point in points:
            if point is not None:
                cv2.circle(canvas, point, 2 * self._line_px + 1, _WHITE, -1, cv2.LINE_AA)
                cv2.circle(canvas, point, 2 * self._line_px, colour, -1, cv2.LINE_AA)

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


def _tint(canvas: Pixels, detection: Detection) -> None:
    """The pixels of a mask half in the colour of the class."""
    import cv2

    mask = detection.mask
    if mask is None or not mask.bits.any():
        return
    if mask.size != canvas.shape[:2]:
        return  # asked for in pixels of the network's canvas
    rows = slice(mask.top, mask.top + mask.bits.shape[0])
    columns = slice(mask.left, mask.left + mask.bits.shape[1])
    window = canvas[rows, columns]
    flat = np.full_like(window, colour_of(detection.class_id))
    blended = cv2.addWeighted(window, 1 - _TINT, flat, _TINT, 0)
    window[mask.bits] = np.asarray(blended, np.uint8)[mask.bits]


def _is_seen(point: Sequence[float]) -> bool:
    return len(point) == _PAIR or point[_PAIR] > _SEEN_ABOVE


def colour_of(class_id: int) -> Colour:
    """The colour of a class: always the same, neighbours far apart."""
    hue = (0.33 + class_id * _GOLDEN) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return (round(blue * 255), round(green * 255), round(red * 255))
