"""Which frames are looked at, and which are filled in from those on both sides."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engines.faces.face import Face
from engines.faces.tracking.seen import SAME, Seen, is_stranger, likeness_of, overlap, width_of

OVERLAP_MIN = 0.5
# A straight line may miss the way of a face by this share of its width in the middle of a gap.
BEND_MAX = 0.01


@dataclass(frozen=True, slots=True)
class Moment:
    """One frame of a video."""

    time_s: float
    is_cut: bool = False  # it shows another scene than the frame before


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What was seen at one moment."""

    time_s: float
    seen: tuple[Seen, ...]


@dataclass(frozen=True, slots=True)
class Glance:
    """A frame that is looked at."""

    place: int  # in its batch
    recognise: bool  # tell who each face is; else its place tells it


def key_places(moments: Sequence[Moment], *, number: int, every: int) -> list[int]:
    """Places in a batch that are looked at in any case.

    Args:
        moments: of the batch.
        number: of its first frame in the video.
        every: each so many frames; the first frame of the video, the last of the batch and both
            sides of a cut are looked at too.
    """
    last = len(moments) - 1
    cuts = {place for place, moment in enumerate(moments) if moment.is_cut}
    wanted = {place for place in range(len(moments)) if (number + place + 1) % every == 0}
    wanted |= cuts | {place - 1 for place in cuts if place > 0} | {last}
    if number == 0:
        wanted.add(0)
    return sorted(wanted)


def is_straight(older: Look | None, before: Look, after: Look) -> bool:
    """Whether what lies between two looks follows from them.

    It does where the same faces are in both and have gone on as they went before; a face that
    came, left, turned or stopped has to be looked at.
    """
    if len(before.seen) != len(after.seen):
        return False
    if not before.seen:
        return True
    if older is None:
        return False
    pairs = _pairs(before.seen, after.seen)
    earlier = _pairs(before.seen, older.seen)
    if pairs is None or earlier is None:
        return False
    step_s, earlier_s = after.time_s - before.time_s, before.time_s - older.time_s
    return all(
        _bend(past.face, now.face, next_.face, earlier_s, step_s) <= BEND_MAX
        for past, now, next_ in zip(earlier, before.seen, pairs, strict=True)
    )


def shows_same_persons(before: Look, after: Look) -> bool:
    """Whether two looks show the same persons in the same places: then place tells who is between.

    Who is there for less time than from one to the other is nobody known.
    """
    if len(before.seen) != len(after.seen):
        return False
    pairs = _pairs(before.seen, after.seen)
    if pairs is None:
        return False
    likenesses = [
        likeness_of(each.vector, other.vector)
        for each, other in zip(before.seen, pairs, strict=True)
    ]
    return all(likeness is not None and likeness >= SAME for likeness in likenesses)


def _pairs(faces: Sequence[Seen], others: Sequence[Seen]) -> list[Seen] | None:
    """For each face the one in its place; None where one has none or a stranger is there."""
    found = []
    for each in faces:
        best = max(others, key=lambda other: overlap(each.face.box, other.face.box), default=None)
        if best is None or overlap(each.face.box, best.face.box) < OVERLAP_MIN:
            return None
        if is_stranger(each.vector, best.vector):
            return None
        found.append(best)
    return found if len({id(each) for each in found}) == len(found) else None


def _bend(past: Face, now: Face, next_: Face, earlier_s: float, step_s: float) -> float:
    """How far a parabola through three sights leaves the line of the last two, in widths."""
    if earlier_s <= 0 or step_s <= 0:
        return float("inf")
    came = (now.points - past.points) / earlier_s
    goes = (next_.points - now.points) / step_s
    acceleration = (goes - came) / ((earlier_s + step_s) / 2)
    away = np.hypot(*(acceleration.T)) * step_s**2 / 8
    return float(away.max()) / width_of(now.box)
