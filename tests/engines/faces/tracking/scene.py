"""A film of drawn faces for the tests of tracks: where each is at a time, and who it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from engines.faces.align.templates import Template, template_points
from engines.faces.face import Face
from engines.faces.tracks import Glance, Moment, Seen, Tracked, Tracker

FPS = 25.0
FACE = template_points(Template.ARCFACE_128, size=1) - 0.5
Way = Callable[[float], tuple[float, float] | None]  # centre at a time; None: not there


def somebody(number: int, dimensions: int = 512) -> np.ndarray:
    """A unit vector; those of two persons are nearly at right angles."""
    vector = np.random.default_rng(number).normal(0, 1, dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def face_at(x: float, y: float, *, width: float = 80, turn: float = 0.0) -> Face:
    """A frontal face; ``turn`` moves its nose to a side, in eye distances."""
    points = FACE * width * 1.8 + [x, y]
    points[2, 0] += turn * (points[1, 0] - points[0, 0])
    half = width / 2
    return Face(box=(x - half, y - half, x + half, y + half), points=points, score=0.9)


@dataclass
class Actor:
    """A person in the film."""

    way: Way
    who: int | None  # None: nobody tells persons apart
    width: float = 80.0
    turn: Callable[[float], float] = lambda _: 0.0
    missed: frozenset[int] = frozenset()  # frames in which detection does not find it


@dataclass
class Film:
    """Runs a tracker over actors; counts what was looked at."""

    actors: Sequence[Actor]
    frames: int
    noise_px: float = 0.0
    cuts: frozenset[int] = frozenset()
    looked: list[int] = field(default_factory=list)
    recognised: list[int] = field(default_factory=list)  # of those, where persons were told

    def sight(self, frame: int) -> list[Seen]:
        """What detection finds in a frame; the same whenever it is asked."""
        rng = np.random.default_rng(frame)
        found = []
        for actor in self.actors:
            place = actor.way(frame / FPS)
            if place is None or frame in actor.missed:
                continue
            face = face_at(*place, width=actor.width, turn=actor.turn(frame / FPS))
            trembling = face.points + rng.normal(0, self.noise_px, (5, 2))
            box = np.array(face.box) + rng.normal(0, self.noise_px, 4)
            vector = None if actor.who is None else somebody(actor.who)
            found.append(Seen(Face(tuple(box.tolist()), trembling, 0.9), vector))
        order = rng.permutation(len(found))  # detectors sort by score, not by person
        return [found[place] for place in order]

    def _see(self, frame: int, glance: Glance) -> list[Seen]:
        self.looked.append(frame)
        found = self.sight(frame)
        if not glance.recognise:
            return [Seen(each.face) for each in found]
        self.recognised.append(frame)
        return found

    def run(self, tracker: Tracker, *, batch: int = 8) -> list[list[Tracked]]:
        """The tracked faces of every frame."""
        shown = []
        for start in range(0, self.frames, batch):
            numbers = range(start, min(start + batch, self.frames))

            def look(glances: Sequence[Glance], numbers: range = numbers) -> list[list[Seen]]:
                return [self._see(numbers[each.place], each) for each in glances]

            moments = [Moment(each / FPS, is_cut=each in self.cuts) for each in numbers]
            shown += tracker.follow(moments, look)
        return shown


def centre(tracked: Tracked) -> np.ndarray:
    """Of the five points."""
    return tracked.face.points.mean(axis=0)
