"""What detection saw, and the few measures that comparing two sights needs."""

from dataclasses import dataclass

import numpy as np

from engines.faces.face import Face, Points
from engines.faces.nets.embedder import Vector

Box = tuple[float, float, float, float]  # x1, y1, x2, y2

# The nose this far (in eye distances) from the middle between eyes and mouth: the head is turned,
# and what an embedder says of it is as like others as like the same person.
TURN_MAX = 0.22


# From one frame to the next one person is at 0.55 and more even while the head turns; another
# person in the same place is below this.
STRANGER = 0.2
# From this likeness on two sights shortly after each other are one person without a doubt.
SAME = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One face as it was found in a frame."""

    face: Face
    vector: Vector | None = None  # of length 1; None: persons are not told apart

    @property
    def is_frontal(self) -> bool:
        """Whether the vector can be trusted to be the person's."""
        return self.vector is not None and turn_of(self.face.points) <= TURN_MAX


def turn_of(points: Points) -> float:
    """How far a head is turned to a side: 0 looks at the viewer; infinite without eyes."""
    middle = (points[:2].mean(axis=0) + points[3:].mean(axis=0)) / 2
    line = points[1] - points[0]
    length = float(line @ line)
    return abs(float((points[2] - middle) @ line)) / length if length > 0 else float("inf")


def likeness_of(left: Vector | None, right: Vector | None) -> float | None:
    """Cosine of two unit vectors; None where persons are not told apart."""
    return None if left is None or right is None else float(left @ right)


def is_stranger(left: Vector | None, right: Vector | None) -> bool:
    """Whether two sights of one place, shortly after each other, are two persons."""
    likeness = likeness_of(left, right)
    return likeness is not None and likeness < STRANGER


def overlap(left: Box, right: Box) -> float:
    """Intersection over union, 0 to 1."""
    width = min(left[2], right[2]) - max(left[0], right[0])
    height = min(left[3], right[3]) - max(left[1], right[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (_area(left) + _area(right) - shared)


def width_of(box: Box) -> float:
    """The mean of both sides, at least one pixel: what lengths on a face are compared with."""
    return max(1.0, (box[2] - box[0] + box[3] - box[1]) / 2)


def between(first: Face, second: Face, share: float) -> Face:
    """The face on the straight way from one to the other; ``share`` 0 is the first."""

    def mixed(left: float, right: float) -> float:
        return left + (right - left) * share

    x1, y1, x2, y2 = (mixed(*pair) for pair in zip(first.box, second.box, strict=True))
    points = first.points + (second.points - first.points) * share
    return Face(
        box=(x1, y1, x2, y2),
        points=np.asarray(points, dtype=np.float64),
        score=min(first.score, second.score),
    )


def _area(box: Box) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])
