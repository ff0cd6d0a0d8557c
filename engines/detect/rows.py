"""From the rows of an Ultralytics network to the boxes that count, chosen as by the reference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detect.detection import Floats, Question
from engines.detect.head import CORNERS, DECIDED, ContractError, Head, check_numbers
from engines.detect.nms import keep_best


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What is left of one picture's rows, best first."""

    boxes: Floats  # [n, 4] x1 y1 x2 y2 in canvas pixels
    scores: Floats  # [n]
    classes: NDArray[np.int64]  # [n]
    extras: Floats  # [n, extras]

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Chosen":
        """Some of them."""
        return Chosen(
            self.boxes[index], self.scores[index], self.classes[index], self.extras[index]
        )


def choose(rows: Floats, head: Head, question: Question) -> Chosen:
    """Rows of one picture, [columns, anchors] or [k, columns], as boxes above ``conf``.

    Raises:
        ContractError: the file did not say how many columns there are, and they do not fit.
    """
    if rows.shape[1 if head.decided else 0] != head.columns:
        message = f"the network gave rows {rows.shape} where {head.columns} numbers were expected"
        raise ContractError(message)
    if head.decided:
        return _decided(rows, question)
    return _suppressed(rows, head, question)


def _decided(rows: Floats, question: Question) -> Chosen:
    """Of rows chosen by the network: confident ones, the first ``max_det``, then the classes."""
    check_numbers(rows)
    rows = rows[rows[:, CORNERS] > question.conf]
    rows = rows[np.argsort(-rows[:, CORNERS], kind="stable")[: question.max_det]]
    chosen = Chosen(
        boxes=rows[:, :CORNERS],
        scores=rows[:, CORNERS],
        classes=rows[:, CORNERS + 1].astype(np.int64),
        extras=rows[:, DECIDED:],
    )
    if question.classes is None:
        return chosen
    return chosen.at(np.isin(chosen.classes, question.classes))


def _suppressed(rows: Floats, head: Head, question: Question) -> Chosen:
    """Of anchors: those with a confident class, their best one, the best of overlapping ones."""
    end = CORNERS + head.classes
    best = rows[CORNERS:end].max(axis=0)  # NaN where any of them is
    check_numbers(best)
    candidates = rows[:, best > question.conf]
    check_numbers(candidates)
    classes = candidates[CORNERS:end].argmax(axis=0)
    if question.classes is not None:
        wanted = np.isin(classes, question.classes)
        candidates, classes = candidates[:, wanted], classes[wanted]
    scores: Floats = np.take_along_axis(candidates[CORNERS:end], classes[None], axis=0)[0]
    centres, halves = candidates[:2].T, candidates[2:CORNERS].T / 2
    boxes: Floats = np.concatenate([centres - halves, centres + halves], axis=1)
    found = Chosen(boxes, scores, classes, candidates[end:].T)
    kept = keep_best(boxes, scores, classes, iou=question.iou, limit=question.max_det)
    return found.at(kept)
