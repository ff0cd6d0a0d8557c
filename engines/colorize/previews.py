"""Small pictures of before and after, where a browser shows no result of that type or size."""

from pathlib import Path

import numpy as np

from engines.colorize.shrink import Method, shrink
from engines.media.images import Picture, write_image
from engines.media.rows import Rows
from engines.media.scans import Scan
from engines.spec import OutputFile

LONGER_SIDE_PX = 1600
SHOWN_PIXELS = 16_000_000  # larger pictures are slow to open on a telephone
_HIDDEN = frozenset({"image/tiff"})


def write_previews(scan: Scan, result: Rows, folder: Path, stem: str) -> tuple[OutputFile, ...]:
    """Write ``before.jpg`` and ``after.jpg`` for a result that a browser would not show."""
    if scan.result_type not in _HIDDEN and result.height * result.width <= SHOWN_PIXELS:
        return ()
    return tuple(
        _preview(
            rows,
            folder / f"preview-{name}.jpg",
            f"{stem}-preview-{name}.jpg",
            is_made=rows is result,
        )
        for name, rows in (("before", scan.rows), ("after", result))
    )


def _preview(rows: Rows, path: Path, name: str, *, is_made: bool) -> OutputFile:
    ratio = min(1.0, LONGER_SIDE_PX / max(rows.height, rows.width))
    height, width = max(1, round(rows.height * ratio)), max(1, round(rows.width * ratio))
    small = shrink(rows, height=height, width=width, method=Method.AREA)
    pixels = np.rint(small * 255).astype(np.uint8)
    write_image(Picture(pixels=pixels), path, media_type="image/jpeg")
    return OutputFile(path=path, media_type="image/jpeg", name=name, is_made=is_made)
