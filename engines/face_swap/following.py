"""The faces of a video's frames: followed, recognised, and chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from engines.errors import InvalidInputError
from engines.face_swap.binding import Binding
from engines.face_swap.casting import Cast
from engines.face_swap.params import Faces, FaceSwapParams, Reference, typed
from engines.face_swap.people import People, recognisable
from engines.face_swap.selection import Chosen, at_position, in_order
from engines.face_swap.tools import Tools
from engines.faces.face import Face, Pixels
from engines.faces.nets.embedder import Vector
from engines.faces.tracking.cuts import CutFinder
from engines.faces.tracks import Glance, Moment, Seen, Tracker
from engines.media.frame import Frame
from engines.media.index import VideoIndex
from engines.media.video import read_frames
from engines.spec import RunItem

# What several frames show, and whether to tell who it is.
Look = Callable[[Sequence[tuple[Frame, bool]]], Sequence[Sequence[Seen]]]


@dataclass(frozen=True, slots=True)
class Followed:
    """What became of a frame's faces."""

    found: int
    chosen: tuple[Chosen, ...]


@dataclass(slots=True)
class Follower:
    """Goes through the frames of one video, or of a part of it, in order.

    Args:
        binding: which track plays which role.
    """

    binding: Binding
    _tracker: Tracker = field(default_factory=Tracker)
    _cuts: CutFinder = field(default_factory=CutFinder)

    def follow(self, frames: Sequence[Frame], look: Look) -> list[Followed]:
        """The faces to replace in each of the next frames.

        Args:
            frames: all of them; those between two looks are filled in.
            look: is asked for some of them at once.
        """
        moments = [Moment(frame.pts_s, self._cuts.step(frame.pixels)) for frame in frames]
        knows = bool(self.binding.persons)  # else nobody is told from anybody

        def looking(glances: Sequence[Glance]) -> Sequence[Sequence[Seen]]:
            return look([(frames[each.place], knows and each.recognise) for each in glances])

        tracked = self._tracker.follow(moments, looking)
        return [Followed(len(faces), tuple(self.binding.choose(faces))) for faces in tracked]


def seen_in(pixels: Pixels, tools: Tools, *, recognise: bool) -> list[Seen]:
    """The faces of a frame, with what tells persons apart if it is asked for."""
    faces = tools.detect(pixels)
    if not recognise or not faces:
        return [Seen(face) for face in faces]
    pairs = zip(faces, tools.recognise(pixels, faces), strict=True)
    return [Seen(face, vector) for face, vector in pairs]


def wanted_persons(
    item: RunItem, cast: Cast, tools: Tools, people: People, index: VideoIndex
) -> dict[int, Vector]:
    """Who is looked for in a video, by number of the role; the same for every part of it.

    With ``faces`` one it is the first person in order of the first frame that shows a face, where
    persons can be told apart; without an embedder it is whoever is first in each shot.

    Raises:
        InvalidInputError: ``no_such_frame``, ``no_such_face``, ``no_face_found``.
        WeightsError: persons have to be told apart, and nothing here can.
    """
    wanted = typed(item.params)
    if not cast.references:
        if wanted.faces is Faces.MANY or tools.embedder is None:
            return {}
        return _first_person(item, tools, wanted, index)
    found = people.references(cast, wanted.order)
    in_target = {
        number: role.reference
        for number, role in enumerate(cast.roles)
        if role.reference is not None and role.reference.file is None
    }
    return {**found, **_in_frames(item, tools, in_target, index)}


def _first_person(
    item: RunItem, tools: Tools, wanted: FaceSwapParams, index: VideoIndex
) -> dict[int, Vector]:
    for frame in read_frames(item.files.target, index):
        item.context.checkpoint()
        faces = tools.detect(frame.pixels)
        if faces:
            first = in_order(faces, wanted.order)[0]
            return {0: recognisable(tools.recognise(frame.pixels, [first])[0])}
    return {}


def _in_frames(
    item: RunItem, tools: Tools, references: dict[int, Reference], index: VideoIndex
) -> dict[int, Vector]:
    """Persons that frames of the target show."""
    found: dict[int, Vector] = {}
    if not references:
        return found
    last = max(reference.frame for reference in references.values())
    if last >= index.frames:
        message = f"the reference is in frame {last}, but the target has {index.frames} frames"
        raise InvalidInputError(message, code="no_such_frame")
    order = typed(item.params).order
    for frame in read_frames(item.files.target, index):
        item.context.checkpoint()
        here = {n: each for n, each in references.items() if each.frame == frame.index}
        faces: Sequence[Face] = tools.detect(frame.pixels) if here else ()
        for number, reference in here.items():
            where = f"frame {frame.index} of the target"
            face = at_position(faces, reference.position, order, where=where)
            found[number] = recognisable(tools.recognise(frame.pixels, [face])[0])
        if frame.index >= last:
            break
    return found
