"""Of many boxes on one object, keep the best."""

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Floats

CANDIDATES_MAX = 30_000


def keep_best(
    boxes: Floats, scores: Floats, classes: NDArray[np.int64], *, iou: float, limit: int
) -> NDArray[np.int64]:
    """Greedy suppression within each class.

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
    areas = np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)
    kept: list[int] = []
    # survivors come out best first, so the loop may end at the limit
    while len(order) and len(kept) < limit:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        same = classes[order] == classes[best]
        overlaps = _overlaps(boxes[best], areas[best], boxes[order], areas[order])
        order = order[~(same & (overlaps > iou))]
    return np.array(kept, dtype=np.int64)


def _overlaps(box: Floats, area: np.float32, boxes: Floats, areas: Floats) -> Floats:
    low = np.maximum(box[:2], boxes[:, :2])
    high = np.minimum(box[2:], boxes[:, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    joined = area + areas - shared
    overlaps: Floats = np.divide(shared, joined, out=np.zeros_like(shared), where=joined > 0)
    return overlaps
