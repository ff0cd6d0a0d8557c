"""Of many boxes on one object, keep the best."""

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Floats

CANDIDATES_MAX = 30_000
_APART = 7680  # pixels; more than any canvas, so that classes moved apart by it never meet


def keep_best(
    boxes: Floats, scores: Floats, classes: NDArray[np.int64], *, iou: float, limit: int
) -> NDArray[np.int64]:
    """Greedy suppression within each class.

    Classes are moved apart in single precision, as the reference does: for high class ids that
    rounds coordinates to a sixteenth of a pixel, and overlaps near the limit are decided by it.

    Args:
        boxes: [n, 4] x1 y1 x2 y2.
        scores: [n].
        classes: [n]; boxes of different classes never suppress each other.
        iou: a box goes when it overlaps a better one by more than this.
        limit: at most so many survive.

    Returns:
        Indices of the survivors, best first.
    """
    order = np.argsort(-scores, kind="stable")[:CANDIDATES_MAX]
    apart = boxes[order] + (classes[order] * _APART).astype(np.float32)[:, None]
    low, high = apart[:, :2].copy(), apart[:, 2:].copy()
    areas = np.prod(high - low, axis=1)
    left = np.arange(len(order))
    kept: list[int] = []
    # survivors come out best first, so the loop may end at the limit
    while len(left) and len(kept) < limit:
        best, left = left[0], left[1:]
        kept.append(int(order[best]))
        corners = np.maximum(low[best], low[left]), np.minimum(high[best], high[left])
        shared = np.prod(np.clip(corners[1] - corners[0], 0, None), axis=1)
        joined = areas[best] + areas[left] - shared
        overlaps = np.divide(shared, joined, out=np.zeros_like(shared), where=joined > 0)
        left = left[~(overlaps > iou)]
    return np.array(kept, dtype=np.int64)
