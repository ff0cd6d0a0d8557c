"""Enlarging by a network of Real-ESRGAN's form, in tiles whose seams do not show.

``input`` [n, 3, h, w] RGB 0..1 to ``output`` [n, 3, 4h, 4w]. The network sees each tile with a rim
as wide as it can look, and the rim is cut off again: tiles meet as if there were none. For a factor
of two the result is averaged down.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineFaultError
from engines.media.rows import Rows, Samples, SinkRows, new_rows
from engines.runners.base import Runner

FILE = "realesr_animevideov3_x4.onnx"
NAME = "realesr-animevideov3@1"
NATIVE = 4
TILE_PX = 192
RIM_PX = 20  # eighteen convolutions of three by three look eighteen pixels far

Floats = NDArray[np.float32]


def enlarged(
    runner: Runner, rows: Rows, factor: int, path: Path, *, pause: Callable[[], None]
) -> SinkRows:
    """Return BGR ``rows`` ``factor`` (2 or 4) times as wide and high."""
    into = new_rows(
        path,
        height=rows.height * factor,
        width=rows.width * factor,
        channels=rows.channels,
        dtype=rows.dtype,
    )
    for top in range(0, rows.height, TILE_PX):
        count = min(TILE_PX, rows.height - top)
        above, below = min(top, RIM_PX), min(rows.height - top - count, RIM_PX)
        strip = rows.read(top - above, above + count + below)
        tiles = [
            _tile(runner, strip, left, factor, pause) for left in range(0, rows.width, TILE_PX)
        ]
        band = np.concatenate(tiles, axis=1)
        into.append(band[above * factor : (above + count) * factor])
    return into


def _tile(
    runner: Runner, strip: Samples, left: int, factor: int, pause: Callable[[], None]
) -> Samples:
    pause()
    width = strip.shape[1]
    columns = min(TILE_PX, width - left)
    before, after = min(left, RIM_PX), min(width - left - columns, RIM_PX)
    part = strip[:, left - before : left + columns + after]
    top = np.float32(np.iinfo(strip.dtype).max)
    large = _reduced(_run(runner, part[..., ::-1].astype(np.float32) / top), factor)
    inner = large[:, before * factor : (before + columns) * factor, ::-1]
    return np.asarray(np.rint(np.clip(inner, 0, 1) * top), strip.dtype)


def _run(runner: Runner, picture: Floats) -> Floats:
    batch = np.ascontiguousarray(picture.transpose(2, 0, 1)[None])
    answer = runner.run({runner.inputs[0].name: batch})[runner.outputs[0].name]
    height, width = picture.shape[:2]
    if answer.shape != (1, 3, height * NATIVE, width * NATIVE):
        message = f"the network made {answer.shape} of {batch.shape}: this enlarges nothing by four"
        raise EngineFaultError(message)
    return np.asarray(answer[0].transpose(1, 2, 0), np.float32)


def _reduced(large: Floats, factor: int) -> Floats:
    step = NATIVE // factor
    if step == 1:
        return large
    height, width = large.shape[0] // step, large.shape[1] // step
    cells = large.reshape(height, step, width, step, 3)
    return np.asarray(cells.mean(axis=(1, 3)), np.float32)
