"""Which of the faces of a frame are which of those before: by place first, by person in doubt."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.faces.nets.embedder import Vector
from engines.faces.tracking.person import Person
from engines.faces.tracking.seen import (
    SAME,
    Box,
    Seen,
    is_stranger,
    likeness_of,
    overlap,
    width_of,
)

OVERLAP_MIN = 0.3  # of the expected and the found box
PERSON_WEIGHT = 0.5  # of likeness beside overlap, where several faces want one place
# Who was away is known again from this likeness on, if nobody else is nearly as like.
RETURN, MARGIN = 0.5, 0.1
_NEVER = -1e6


class Expected(Protocol):
    """A face that was there, as far as telling it again needs."""

    @property
    def box(self) -> Box:
        """Where it should be now."""

    @property
    def vector(self) -> Vector | None:
        """Of its last sight."""

    @property
    def person(self) -> Person:
        """Who it is."""


def by_place(expected: Sequence[Expected], seen: Sequence[Seen]) -> dict[int, int]:
    """Pairs (place in expected: place in seen) that give the best sum of overlap and likeness."""
    if not expected or not seen:
        return {}
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415 - slow to load, video only

    scores = np.array([[_score(before, now) for now in seen] for before in expected])
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return {
        int(row): int(column)
        for row, column in zip(rows, columns, strict=True)
        if scores[row, column] > 0
    }


def by_person(expected: Sequence[Expected], seen: Sequence[Seen]) -> dict[int, int]:
    """Pairs of faces that were away and faces seen from the front, by likeness alone."""
    pairs: dict[int, int] = {}
    likeness = _likeness(expected, seen)
    while likeness.size and likeness.max() >= RETURN:
        row, column = (int(each) for each in np.unravel_index(likeness.argmax(), likeness.shape))
        others = np.delete(likeness[:, column], row)
        if not others.size or likeness[row, column] - others.max() >= MARGIN:
            pairs[row] = column
            likeness[row] = _NEVER
        likeness[:, column] = _NEVER
    return pairs


def _score(before: Expected, now: Seen) -> float:
    if is_stranger(before.vector, now.vector):
        return _NEVER
    likeness = likeness_of(before.vector, now.vector)
    place = overlap(before.box, now.face.box)
    looks_same = likeness is not None and likeness >= SAME  # else no face jumps by its width
    if place < OVERLAP_MIN and not (looks_same and _distance(before.box, now.face.box) < 1):
        return _NEVER
    return place + PERSON_WEIGHT * max(0.0, likeness or 0.0) + 1e-6


def _likeness(expected: Sequence[Expected], seen: Sequence[Seen]) -> NDArray[np.float64]:
    table = np.full((len(expected), len(seen)), _NEVER)
    for row, before in enumerate(expected):
        for column, now in enumerate(seen):
            if before.person.is_known and now.is_frontal and now.vector is not None:
                table[row, column] = before.person.likeness(now.vector)
    return table


def _distance(left: Box, right: Box) -> float:
    """Of the centres, in widths of the faces."""
    across = (left[0] + left[2] - right[0] - right[2]) / 2
    down = (left[1] + left[3] - right[1] - right[3]) / 2
    return float(np.hypot(across, down)) / max(width_of(left), width_of(right))
