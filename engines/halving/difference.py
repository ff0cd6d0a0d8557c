"""How far a converted network is from the original, on the same inputs, on the CPU."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from engines.errors import EngineFaultError
from engines.runners.base import Array, Feeds, Runner

TOLERANCE = 0.02
_QUIET = 0.01  # what is smaller than this in the network's own units is held to it
_ROWS = 3  # dimensions of a table of rows, whichever way round


@dataclass(frozen=True, slots=True)
class Difference:
    """The worst that was seen."""

    share: float  # root mean square of the difference, as a share of that of the original
    output: str
    inputs: int  # how many were tried


def measure(whole: Runner, half: Runner, feeds: Iterable[Feeds]) -> Difference:
    """Run both on every input and tell the worst channel of the worst output.

    Channels count each by itself: boxes in hundreds of pixels would hide lost confidences.

    Raises:
        EngineFaultError: code ``precision_lost`` where fp16 gives NaN or infinity and fp32 does
            not, ``network_output_invalid`` where the original gives NaN.
    """
    worst, tried = Difference(0.0, "", 0), 0
    for tried, feed in enumerate(feeds, start=1):
        expected, got = whole.run(feed), _finite(half, feed)
        for name, array in expected.items():
            if not np.isfinite(array).all():
                message = f"the original gives infinity in {name} already; it cannot be compared"
                raise EngineFaultError(message, code="network_output_invalid")
            share = _share(array, got[name])
            if share >= worst.share:
                worst = Difference(share, name, tried)
    return Difference(worst.share, worst.output, tried)


def _finite(half: Runner, feed: Feeds) -> dict[str, Array]:
    try:
        outputs = half.run(feed)
    except EngineFaultError as error:
        if error.code != "network_output_invalid":
            raise
        raise lost(f"in fp16 {error.detail}") from error
    for name, array in outputs.items():
        if not np.isfinite(array).all():
            raise lost(f"fp16 gives infinity in the output {name}; its range is too small for it")
    return outputs


def lost(detail: str) -> EngineFaultError:
    """The error of a conversion that is not to be used; another attempt gives the same."""
    error = EngineFaultError(detail, code="precision_lost")
    error.retryable = False
    return error


def _share(expected: Array, got: Array) -> float:
    if expected.shape != got.shape:
        raise lost(f"fp16 gives the shape {got.shape} in place of {expected.shape}")
    one, other = (_by_channel(array) for array in (expected, got))
    scale = np.sqrt(np.mean(one**2, axis=1))
    apart = np.sqrt(np.mean((one - other) ** 2, axis=1))
    return float((apart / np.maximum(scale, _QUIET)).max(initial=0.0))


def _by_channel(array: Array) -> Array:
    """[channels, numbers]; vectors and lists of numbers are one channel.

    A table [n, a, b] has rows the one or the other way round: its channels are the fewer.
    """
    wide = np.asarray(array, dtype=np.float64)
    if wide.ndim < _ROWS or not wide.size:
        return wide.reshape(1, -1)
    axis = 2 if wide.ndim == _ROWS and wide.shape[2] < wide.shape[1] else 1
    return np.moveaxis(wide, axis, 0).reshape(wide.shape[axis], -1)
