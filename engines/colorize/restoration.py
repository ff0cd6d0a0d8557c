"""Grain and scratches taken out of the light, before colour is guessed. Strip by strip.

The picture becomes grey of as many bits: its lightness is all that counts from here on. Each strip
is read with as much around it as its own pixels depend on, so strips do not show.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.colorize.scratches import HALO_PX as SCRATCH_HALO_PX
from engines.colorize.scratches import without_scratches
from engines.media.rows import Rows, Samples, new_rows

Grey = NDArray[np.unsignedinteger[Any]]  # [height, width], 8 or 16 bits

DENOISER = "nlmeans@1"
DESCRATCHER = "inpaint@1"
STRIP_PIXELS = 1_500_000
_TEMPLATE_PX, _SEARCH_PX = 7, 21
_NOISE_HALO_PX = _TEMPLATE_PX // 2 + _SEARCH_PX // 2
_NOISE_MIN, _NOISE_MAX = 0.5, 20.0  # 8-bit steps; below it grain is nothing, above it is texture
_STRENGTH = 1.1  # of the filter, in standard deviations of the grain


def denoised(rows: Rows, path: Path, *, pause: Callable[[], None]) -> tuple[Rows, float]:
    """Return the grey picture without grain, and the grain that was found in 8-bit steps."""
    noise = _noise_of(rows)
    if noise < _NOISE_MIN:
        return rows, noise
    return _by_strips(rows, path, _NOISE_HALO_PX, lambda grey: _nlmeans(grey, noise), pause), noise


def descratched(rows: Rows, path: Path, *, pause: Callable[[], None]) -> Rows:
    """Return the grey picture without thin long lines that differ from what is on both sides."""
    return _by_strips(rows, path, SCRATCH_HALO_PX, without_scratches, pause)


def grey_of(samples: Samples) -> Grey:
    """Luma of BGR samples, or grey as it is, [height, width]."""
    import cv2

    if samples.shape[2] == 1:
        return np.ascontiguousarray(samples[..., 0])
    return np.asarray(cv2.cvtColor(samples, cv2.COLOR_BGR2GRAY), samples.dtype)


def grain(grey: Grey) -> float:
    """Standard deviation of the grain in 8-bit steps: what differs from a plane, robustly."""
    import cv2

    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    scale = np.float32(255 / np.iinfo(grey.dtype).max)
    detail = np.abs(cv2.filter2D(grey.astype(np.float32) * scale, cv2.CV_32F, kernel))
    # the median knows no edges; 0.6745 and 6 make of it the deviation of white noise
    return float(np.median(detail)) / 0.6745 / 6


def _noise_of(rows: Rows) -> float:
    """Of a band through the middle: grain is the same everywhere in a photograph."""
    count = max(1, min(rows.height, STRIP_PIXELS // rows.width))
    return grain(grey_of(rows.read((rows.height - count) // 2, count)))


def _nlmeans(grey: Grey, noise: float) -> Grey:
    import cv2

    strength = min(noise, _NOISE_MAX) * _STRENGTH
    if grey.dtype == np.uint8:
        out = cv2.fastNlMeansDenoising(grey, None, strength, _TEMPLATE_PX, _SEARCH_PX)
    else:
        deep = [strength * 257]
        out = cv2.fastNlMeansDenoising(grey, deep, None, _TEMPLATE_PX, _SEARCH_PX, cv2.NORM_L1)
    return np.asarray(out, grey.dtype)


def _by_strips(
    rows: Rows, path: Path, halo: int, change: Callable[[Grey], Grey], pause: Callable[[], None]
) -> Rows:
    into = new_rows(path, height=rows.height, width=rows.width, channels=1, dtype=rows.dtype)
    count = max(halo, STRIP_PIXELS // rows.width)
    for top in range(0, rows.height, count):
        pause()
        above = min(top, halo)
        strip = grey_of(rows.read(top - above, above + count + halo))
        wanted = min(count, rows.height - top)
        into.append(change(strip)[above : above + wanted, :, None])
    return into
