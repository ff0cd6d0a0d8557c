"""Which track of a video plays which role: nobody changes with the frame. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from engines.face_swap.casting import Cast
from engines.face_swap.params import FaceSwapParams
from engines.face_swap.selection import Chosen, in_order
from engines.faces.nets.embedder import Vector
from engines.faces.tracks import Tracked

# A role goes over to another track only if that is clearly more like the person.
MARGIN = 0.1
# Whoever turns out to be this unlike (share of the threshold) was somebody else all along.
RELEASE = 0.5


@dataclass(slots=True)
class Binding:
    """Binds tracks to roles, and keeps them so while they are in sight.

    A head that turns away looks like nobody: what was recognised once stays so for its track.

    Args:
        wanted: of the job.
        cast: who plays whom.
        persons: unit vectors of who is looked for, by number of the role; empty: any face will do.
    """

    wanted: FaceSwapParams
    cast: Cast
    persons: dict[int, Vector]
    _roles: dict[int, int] = field(default_factory=dict)  # by track

    def choose(self, faces: Sequence[Tracked]) -> list[Chosen]:
        """The faces of the next frame that are replaced."""
        bound = self._recognised(faces) if self.persons else self._anybody(faces)
        # who is out of sight for good would be remembered for ever
        self._roles = {each.track: role for each, role in bound}
        return [
            Chosen(each.face, role, each.likeness(self.persons[role]) if self.persons else None)
            for each, role in bound
        ]

    def _anybody(self, faces: Sequence[Tracked]) -> list[tuple[Tracked, int]]:
        """Those that were replaced before, then others in order, as many as may be."""
        by_face = {id(each.face): each for each in faces}
        ordered = [
            by_face[id(face)] for face in in_order([each.face for each in faces], self.wanted.order)
        ]
        kept = [each for each in ordered if each.track in self._roles]
        new = [each for each in ordered if each.track not in self._roles]
        return [(each, 0) for each in (*kept, *new)[: self.cast.most_faces]]

    def _recognised(self, faces: Sequence[Tracked]) -> list[tuple[Tracked, int]]:
        """The track of each role: the one it had, unless another is clearly more like it."""
        likeness = {
            (each.track, role): each.likeness(vector)
            for each in faces
            for role, vector in self.persons.items()
        }
        threshold = self.wanted.threshold
        held = {
            pair for pair in self._roles.items() if likeness.get(pair, -1.0) >= threshold * RELEASE
        }
        weights = {
            pair: value + (MARGIN if pair in held else 0.0)
            for pair, value in likeness.items()
            if pair in held or value >= threshold
        }
        by_track = {each.track: each for each in faces}
        bound: list[tuple[Tracked, int]] = []
        for track, role in sorted(weights, key=lambda pair: -weights[pair]):
            if track in by_track and all(role != other for _, other in bound):
                bound.append((by_track.pop(track), role))
        return bound
