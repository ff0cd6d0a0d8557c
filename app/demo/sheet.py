"""A contact sheet: every result beside its input, with what made it and what it cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

THUMB_WIDTH, THUMB_HEIGHT = 372, 300
GAP = 6  # between before and after
MARGIN = 28  # around the sheet and between cells
COLUMNS = 2
CAPTION_HEIGHT = 62
HEADER_HEIGHT = 84

PAPER = "#ffffff"
MOUNT = "#eef0f3"
INK = "#16181d"
FAINT = "#68707d"
ACCENT = "#2456c5"

Font = ImageFont.FreeTypeFont


@dataclass(frozen=True, slots=True)
class Pair:
    """One result beside its input; both are pictures on disk."""

    before: Path
    after: Path
    title: str  # "detect  yolov8n@1"
    line: str  # "2 found, 0.7 tokens, 31 ms"
    note: str  # the job's id


def draw_sheet(
    pairs: Sequence[Pair], destination: Path, *, title: str, subtitle: str, font_file: Path
) -> Path:
    """Write a PNG with all pairs, two in a row; returns ``destination``."""
    rows = -(-len(pairs) // COLUMNS)
    cell_width = 2 * THUMB_WIDTH + GAP
    cell_height = THUMB_HEIGHT + CAPTION_HEIGHT
    width = COLUMNS * cell_width + (COLUMNS + 1) * MARGIN
    height = HEADER_HEIGHT + rows * (cell_height + MARGIN) + MARGIN // 2
    sheet = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN, 20), title, font=_font(font_file, 26), fill=INK)
    pen.text((MARGIN, 54), subtitle, font=_font(font_file, 15), fill=FAINT)
    for index, pair in enumerate(pairs):
        row, column = divmod(index, COLUMNS)
        left = MARGIN + column * (cell_width + MARGIN)
        top = HEADER_HEIGHT + row * (cell_height + MARGIN)
        _draw_pair(sheet, pair, left=left, top=top, font_file=font_file)
    sheet.save(destination)
    return destination


def _draw_pair(sheet: Image.Image, pair: Pair, *, left: int, top: int, font_file: Path) -> None:
    pen = ImageDraw.Draw(sheet)
    for offset, path, tag in ((0, pair.before, "before"), (1, pair.after, "after")):
        x = left + offset * (THUMB_WIDTH + GAP)
        pen.rectangle((x, top, x + THUMB_WIDTH - 1, top + THUMB_HEIGHT - 1), fill=MOUNT)
        thumb = _thumb(path)
        place = (x + (THUMB_WIDTH - thumb.width) // 2, top + (THUMB_HEIGHT - thumb.height) // 2)
        sheet.paste(thumb, place)
        _tag(pen, (x, top), tag, font=_font(font_file, 12))
    below = top + THUMB_HEIGHT + 8
    pen.text((left, below), pair.title, font=_font(font_file, 17), fill=INK)
    pen.text((left, below + 24), pair.line, font=_font(font_file, 14), fill=ACCENT)
    # The id is right-aligned on the title's line, so that long lines have the whole width.
    small = _font(font_file, 12)
    right = left + 2 * THUMB_WIDTH + GAP
    pen.text((right - small.getlength(pair.note), below + 4), pair.note, font=small, fill=FAINT)


def _tag(pen: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, *, font: Font) -> None:
    x, y = corner
    pen.rectangle((x, y, x + int(font.getlength(text)) + 12, y + 20), fill=INK)
    pen.text((x + 6, y + 3), text, font=font, fill=PAPER)


def _thumb(path: Path) -> Image.Image:
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture).convert("RGB")
    return ImageOps.contain(upright, (THUMB_WIDTH, THUMB_HEIGHT), Image.Resampling.LANCZOS)


def _font(font_file: Path, size: int) -> Font:
    return ImageFont.truetype(font_file, size)
