"""Faces through a video: each has a number, stays the same person, and does not tremble.

Frames come in batches, in order. Of a batch some frames are looked at (detection is asked for them
in one call) and those between are filled in from both sides, where faces go straight on; where one
turns, stops, comes or leaves, every frame is looked at. Persons are told by their vectors in the
former; between two looks at the same persons in the same places, the place tells them. Nothing is
shown of a face on frames after its last sight or before its first: there is no guessing ahead.
Somebody who is there for less time than from one look to the next may be missed.

A face is the same from frame to frame if it is where it was (overlap), and never if it looks like
somebody else. After a cut, and when somebody returns, persons are known by their vectors. Heads
that turn away look like nobody any more, so they are held by their place alone.

Everything here is computation on boxes, points and vectors: no pixels, no networks, no clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engines.faces.face import Face
from engines.faces.nets.embedder import Vector
from engines.faces.tracking.association import by_person, by_place
from engines.faces.tracking.gaps import (
    Glance,
    Look,
    Moment,
    is_straight,
    key_places,
    shows_same_persons,
)
from engines.faces.tracking.person import Person
from engines.faces.tracking.seen import Box, Seen, between
from engines.faces.tracking.smoothing import FaceSmoother, Steadiness

__all__ = ["Glance", "Looking", "Moment", "Seen", "Settings", "Tracked", "Tracker"]

# What is seen in these frames of the batch, in this order.
Looking = Callable[[Sequence[Glance]], Sequence[Sequence[Seen]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a video is followed."""

    every: int = 4  # frames from one look to the next where nothing happens; 1: look at all
    missed_s: float = 0.2  # a face that is missed for no longer is filled in
    away_s: float = 1.0  # for so long a face may come back by its place
    away_max: int = 64  # persons who are away and remembered
    steadiness: Steadiness | None = field(default_factory=Steadiness)  # None: points as found


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """A face of one frame."""

    track: int  # the same number is the same face; numbers are not used again
    face: Face  # steadied
    vectors: NDArray[np.float32]  # unit vectors [n, dimensions] of its best sights so far
    is_seen: bool  # detected in this frame, not filled in

    def likeness(self, vector: Vector) -> float:
        """How like a person (unit vector) the whole track is: -1 where nothing is known."""
        return float((self.vectors @ vector).max()) if len(self.vectors) else -1.0


class Tracker:
    """Follows the faces of one video or of a part of it; memory does not grow with its length."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._number = 0  # of the next frame
        self._next = 0  # number of the next track
        self._tracks: list[_Track] = []  # those in sight or away
        self._looks: list[Look] = []  # the last two
        self._recognised = 0  # number of the last frame in which persons were told

    def follow(self, moments: Sequence[Moment], look: Looking) -> list[list[Tracked]]:
        """The faces of the next frames, each frame's by number.

        Args:
            moments: consecutive frames; times must rise through the whole video.
            look: is asked once for the frames that are looked at in any case, and once more for
                those between that turn out to be needed.
        """
        if not moments:
            return []
        keys = key_places(moments, number=self._number, every=self._settings.every)
        glances = [Glance(place, recognise=True) for place in keys]
        seen = dict(zip(keys, look(glances), strict=True))
        doubtful = self._doubtful(moments, seen)
        if doubtful:
            seen |= zip([each.place for each in doubtful], look(doubtful), strict=True)
        shown: list[list[Tracked]] = [[] for _ in moments]
        by_place_alone = {each.place for each in doubtful if not each.recognise}
        for place in sorted(seen):
            if place not in by_place_alone:
                self._recognised = self._number + place
            self._arrive(place, moments, tuple(seen[place]), shown)
        self._number += len(moments)
        return [sorted(faces, key=lambda each: each.track) for faces in shown]

    def _doubtful(self, moments: Sequence[Moment], seen: dict[int, Sequence[Seen]]) -> list[Glance]:
        """At the frames between two looks that do not follow from them."""
        looks = list(self._looks)
        wanted: list[Glance] = []
        start = 0
        for place in sorted(seen):
            look = Look(moments[place].time_s, tuple(seen[place]))
            if moments[place].is_cut:
                looks = []
            gap = range(start, place)
            if gap and not (
                looks and is_straight(looks[-2] if looks[1:] else None, looks[-1], look)
            ):
                is_plain = bool(looks) and shows_same_persons(looks[-1], look)
                wanted += [Glance(each, recognise=not is_plain) for each in gap]
            looks.append(look)
            start = place + 1
        return wanted

    def _arrive(
        self,
        place: int,
        moments: Sequence[Moment],
        seen: tuple[Seen, ...],
        shown: list[list[Tracked]],
    ) -> None:
        """Tell the faces of a frame that was looked at, and fill in what lies before it."""
        moment, number = moments[place], self._number + place
        if moment.is_cut:
            self._looks = []
            for track in self._tracks:
                track.lose()
        self._looks = [*self._looks[-1:], Look(moment.time_s, seen)]
        for track, sight in self._told(moment.time_s, number, seen):
            if track.fills_until(moment.time_s, number, self._settings):
                for filled in range(max(0, track.last_number + 1 - self._number), place):
                    time_s = moments[filled].time_s
                    face = track.face_at(time_s, moment.time_s, sight.face)
                    shown[filled].append(track.show(time_s, face, is_seen=False))
            track.see(number, moment.time_s, sight, self._settings)
            shown[place].append(track.show(moment.time_s, sight.face, is_seen=True))
        self._forget(moment.time_s)

    def _told(
        self, time_s: float, number: int, seen: tuple[Seen, ...]
    ) -> list[tuple["_Track", Seen]]:
        """Each face with its track: by place, else by person, else a new one.

        Where persons are not told, only those who were there when they were last told have places.
        """
        near = [each for each in self._tracks if each.may_be_near(time_s, self._settings)]
        if number != self._recognised:
            near = [each for each in near if each.last_number >= self._recognised]
        for track in near:
            track.expect(time_s)
        told = {column: near[row] for row, column in by_place(near, seen).items()}
        left = [column for column in range(len(seen)) if column not in told]
        free = [each for each in self._tracks if all(each is not one for one in told.values())]
        for row, column in by_person(free, [seen[each] for each in left]).items():
            free[row].lose()
            told[left[column]] = free[row]
        for column in left:
            if column not in told:
                told[column] = _Track(self._next, self._settings.steadiness)
                self._tracks.append(told[column])
                self._next += 1
        return [(told[column], seen[column]) for column in range(len(seen))]

    def _forget(self, time_s: float) -> None:
        """Keep those in sight, and of the others those that may come back."""
        settings = self._settings

        def is_near(track: _Track) -> bool:
            return time_s - track.time_s <= settings.away_s and not track.is_lost

        away = [each for each in self._tracks if not is_near(each) and each.person.is_known]
        kept = {
            each.number for each in sorted(away, key=lambda one: one.time_s)[-settings.away_max :]
        }
        self._tracks = [each for each in self._tracks if is_near(each) or each.number in kept]


class _Track:
    """One face through time."""

    def __init__(self, number: int, steadiness: Steadiness | None) -> None:
        self.number = number
        self.person = Person()
        self.is_lost = True  # its place says nothing: never seen, cut away, or known by its looks
        self.last_number = -1
        self.time_s = 0.0
        self.vector: Vector | None = None
        self.box: Box = (0.0, 0.0, 0.0, 0.0)  # where it is expected
        self._steadiness = steadiness
        self._smoother: FaceSmoother | None = None
        self._face: Face | None = None  # of the last sight
        self._velocity = np.zeros(2)

    def lose(self) -> None:
        """Begin anew wherever it is seen next."""
        self.is_lost = True
        self._smoother = None
        self._velocity = np.zeros(2)

    def may_be_near(self, time_s: float, settings: Settings) -> bool:
        """Whether it can be told by its place."""
        return not self.is_lost and time_s - self.time_s <= settings.away_s

    def expect(self, time_s: float) -> None:
        """Say where it should be by now."""
        if self._face is not None:
            x, y = self._velocity * (time_s - self.time_s)
            x1, y1, x2, y2 = self._face.box
            self.box = (x1 + x, y1 + y, x2 + x, y2 + y)

    def fills_until(self, time_s: float, number: int, settings: Settings) -> bool:
        """Whether the frames since its last sight are filled in."""
        if self.is_lost or self._face is None:
            return False
        return (
            number - self.last_number <= settings.every or time_s - self.time_s <= settings.missed_s
        )

    def face_at(self, time_s: float, next_s: float, following: Face) -> Face:
        """Between its last sight and the following one."""
        if self._face is None:
            return following
        return between(self._face, following, (time_s - self.time_s) / (next_s - self.time_s))

    def see(self, number: int, time_s: float, sight: Seen, settings: Settings) -> None:
        """Take over a sight."""
        step_s = time_s - self.time_s
        if self._face is not None and not self.is_lost and step_s > 0:
            moved = (sight.face.points - self._face.points).mean(axis=0)
            self._velocity = moved / step_s
            if not self.fills_until(time_s, number, settings):
                self._smoother = None  # where it was half a second ago steadies nothing
        self.is_lost = False
        self.last_number, self.time_s = number, time_s
        self._face = sight.face
        self.vector = sight.vector if sight.vector is not None else self.vector
        self.person.add(sight)

    def show(self, time_s: float, face: Face, *, is_seen: bool) -> Tracked:
        """The face as it is given out."""
        if self._steadiness is not None:
            self._smoother = self._smoother or FaceSmoother(self._steadiness)
            face = self._smoother.step(time_s, face)
        return Tracked(self.number, face, self.person.vectors, is_seen)
