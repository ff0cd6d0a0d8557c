"""Enlarging without a network: ``lanczos@1``, Lanczos resampling and mild sharpening."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.media.rows import Rows, Samples, SinkRows, new_rows

NAME = "lanczos@1"
SHARPEN = 0.35  # share of the difference to a blurred copy that is added
SHARPEN_SIGMA_PX = 0.6  # in pixels of the small picture
_HALO = 8  # rows around a strip that its own rows depend on
_STRIP_PIXELS = 500_000


def enlarged(
    rows: Rows, alpha: Rows | None, factor: int, folder: Path, *, pause: Callable[[], None]
) -> tuple[Rows, Rows | None]:
    """Return a picture and its alpha ``factor`` times as wide and high, strip by strip."""
    large = enlarge_rows(rows, factor, folder / "enlarged.raw", pause)
    if alpha is None:
        return large, None
    return large, enlarge_rows(alpha, factor, folder / "enlarged-alpha.raw", pause)


def enlarge(pixels: Samples, factor: int) -> Samples:
    """Return [height, width, channels] ``factor`` times as wide and high."""
    import cv2

    size = pixels.shape[1] * factor, pixels.shape[0] * factor
    large = cv2.resize(pixels, size, interpolation=cv2.INTER_LANCZOS4)
    blurred = cv2.GaussianBlur(large, (0, 0), SHARPEN_SIGMA_PX * factor)
    sharp = cv2.addWeighted(large, 1 + SHARPEN, blurred, -SHARPEN, 0)
    return np.asarray(sharp, dtype=pixels.dtype).reshape(size[1], size[0], pixels.shape[2])


def enlarge_rows(rows: Rows, factor: int, path: Path, pause: Callable[[], None]) -> SinkRows:
    """Return rows of any channels enlarged, strip by strip."""
    into = new_rows(
        path,
        height=rows.height * factor,
        width=rows.width * factor,
        channels=rows.channels,
        dtype=rows.dtype,
    )
    count = max(1, _STRIP_PIXELS // rows.width)
    for top in range(0, rows.height, count):
        pause()
        above = min(top, _HALO)
        strip = rows.read(top - above, above + count + _HALO)
        wanted = min(count, rows.height - top)
        large = enlarge(strip, factor)
        into.append(large[above * factor : (above + wanted) * factor])
    return into
