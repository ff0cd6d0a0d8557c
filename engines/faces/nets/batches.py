"""Run a network on many crops: as many at once as its file allows."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.runners.base import TensorSpec

# More at once gains nothing and takes memory.
BATCH_MAX = 16


def batch_limit(*specs: TensorSpec, most: int = BATCH_MAX) -> int:
    """How many crops one run takes: what the first fixed axis of all inputs says, or ``most``."""
    return min([most, *(spec.shape[0] for spec in specs if spec.shape[0] is not None)])


def in_batches(count: int, *, limit: int, run: Callable[[slice], NDArray[Any]]) -> NDArray[Any]:
    """Join what ``run`` gives for consecutive slices of at most ``limit`` of ``count`` crops."""
    return np.concatenate([run(part) for part in slices(count, limit=limit)])


def slices(count: int, *, limit: int) -> Iterator[slice]:
    """Consecutive slices that cover ``count`` items."""
    for start in range(0, count, limit):
        yield slice(start, min(start + limit, count))
