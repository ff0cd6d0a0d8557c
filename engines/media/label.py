"""The visible label of a result: a line of text that says a machine made it.

The height follows the Chinese labelling measures (GB 45438-2025): at least 5 % of the shorter side,
and in a video for the first two seconds at least.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydantic import BeforeValidator, Field, WithJsonSchema

from engines.errors import InvalidInputError
from engines.media.frame import Frame
from engines.media.images import Picture
from engines.media.index import VideoIndex
from engines.media.planes import Pixels
from engines.media.rows import Rows, Samples, overwrite
from engines.media.video import Process

DEFAULT_TEXT = "AI-generated"
TEXT_LENGTH_MAX = 40
HEIGHT_SHARE = 0.05  # of a capital letter in the shorter side
SHOWN_S = 2.0  # of a video
_HEIGHT_MIN_PX = 8  # below it nothing can be read
_PLATE = 0.55  # how dark the ground behind the text is
_PRINTABLE = range(0x20, 0x7F)  # what the font that comes with Pillow has


def _text(value: object) -> object:
    """True is the usual text, false is none."""
    if isinstance(value, bool):
        return DEFAULT_TEXT if value else None
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value.strip()) <= TEXT_LENGTH_MAX:
        raise ValueError(f"must be true, false or a text of 1 to {TEXT_LENGTH_MAX} characters")
    if any(ord(character) not in _PRINTABLE for character in value):
        raise ValueError("must be of printable ASCII characters: the font has no others")
    return value.strip()


_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "boolean"},
        {"type": "string", "maxLength": TEXT_LENGTH_MAX},
        {"type": "null"},
    ]
}
VisibleLabel = Annotated[
    str | None,
    BeforeValidator(_text),
    WithJsonSchema(_SCHEMA),
    Field(
        description=f"Write into the result that a machine made it: true for {DEFAULT_TEXT!r}, or "
        "a text of your own. Of a video in its first two seconds."
    ),
]


def check_label(text: str | None, *, gives_picture: bool) -> None:
    """Refuse a label where no picture is given back; raises ``option_unsupported``."""
    if text is not None and not gives_picture:
        detail = "label is for jobs that give a picture or video back: leave it out"
        raise InvalidInputError(detail, code="option_unsupported")


@dataclass(frozen=True)
class Label:
    """A text as it lies in the lower right corner of pictures of one size."""

    text: str
    width: int  # of the picture, pixels
    height: int

    @cached_property
    def _ink(self) -> NDArray[np.float32]:
        """How much of each pixel of the plate is text, [h, w]."""
        wanted = max(math.ceil(HEIGHT_SHARE * min(self.width, self.height)), _HEIGHT_MIN_PX)
        font = _font(wanted)
        pad = max(2, wanted // 3)
        lines = _wrapped(self.text, font, self.width - 2 * pad)
        box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox(
            (0, 0), "\n".join(lines), font=font, spacing=pad
        )
        size = math.ceil(box[2] - box[0]) + 2 * pad, math.ceil(box[3] - box[1]) + 2 * pad
        plate = Image.new("L", size)
        ImageDraw.Draw(plate).multiline_text(
            (pad - box[0], pad - box[1]), "\n".join(lines), fill=255, font=font, spacing=pad
        )
        ink = np.asarray(plate, dtype=np.float32) / np.float32(255)
        return ink[: self.height, : self.width]

    @property
    def top(self) -> int:
        """The first row of the plate; it ends with the picture."""
        return self.height - len(self._ink)

    @property
    def left(self) -> int:
        """Its first column."""
        return self.width - len(self._ink[0])

    def over(self, ground: Samples) -> Samples:
        """White text on darkened ground.

        Args:
            ground: what the plate covers, [h, w, channels] of 8 or 16 bits.
        """
        white = np.iinfo(ground.dtype).max
        ink = self._ink[..., None]
        mixed: Samples = np.rint(ground * (1 - _PLATE) * (1 - ink) + white * ink).astype(
            ground.dtype
        )
        return mixed

    def on(self, pixels: Pixels) -> Pixels:
        """A copy of a picture [height, width, 3] with the label."""
        labelled = pixels.copy()
        labelled[self.top :, self.left :] = self.over(pixels[self.top :, self.left :])
        return labelled


def label_picture(picture: Picture, text: str | None) -> Picture:
    """The picture with its label, which nothing transparent hides; without a text itself."""
    if text is None:
        return picture
    label, alpha = Label(text, picture.width, picture.height), picture.alpha
    if alpha is not None:
        alpha = alpha.copy()
        alpha[label.top :, label.left :] = np.iinfo(alpha.dtype).max
    return replace(picture, pixels=label.on(picture.pixels), alpha=alpha)


def label_rows(rows: Rows, text: str | None, *, alpha: Rows | None) -> None:
    """Write a label into rows that are a result, and make it opaque; without a text nothing."""
    if text is None:
        return
    label = Label(text, rows.width, rows.height)
    ground = rows.read(label.top, rows.height - label.top)[:, label.left :]
    overwrite(rows, label.top, label.left, label.over(ground))
    if alpha is not None:
        opaque = np.full((*ground.shape[:2], 1), np.iinfo(alpha.dtype).max, dtype=alpha.dtype)
        overwrite(alpha, label.top, label.left, opaque)


def label_frames(process: Process, text: str | None, index: VideoIndex) -> Process:
    """What an engine makes of frames, with a label for the first seconds of the video."""
    if text is None:
        return process
    label = Label(text, index.width, index.height)
    until = index.pts[0] + math.ceil(SHOWN_S / index.time_base)

    def labelled(frames: Sequence[Frame]) -> list[Frame | Pixels]:
        pictures = process(frames)
        return [
            label.on(picture.pixels if isinstance(picture, Frame) else picture)
            if frame.pts < until and not frame.lead_in
            else picture
            for frame, picture in zip(frames, pictures, strict=True)
        ]

    return labelled


def _font(capital_px: int) -> ImageFont.FreeTypeFont:
    """The font in which a capital letter is at least so high."""
    size = capital_px
    while True:
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            message = "Pillow was built without FreeType; visible labels need it"
            raise TypeError(message)
        top, bottom = font.getbbox("A")[1::2]
        if bottom - top > capital_px:  # one row more: the outermost are half covered
            return font
        size += max(1, math.ceil(capital_px - (bottom - top)))


def _wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Lines that fit; a word too long for one is cut."""
    lines = [""]
    for word in text.split():
        for part in _pieces(word, font, width):
            joined = f"{lines[-1]} {part}".strip()
            if font.getlength(joined) <= width:
                lines[-1] = joined
            else:
                lines.append(part)
    return [line for line in lines if line]


def _pieces(word: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    pieces = [""]
    for character in word:
        if pieces[-1] and font.getlength(pieces[-1] + character) > width:
            pieces.append("")
        pieces[-1] += character
    return pieces
