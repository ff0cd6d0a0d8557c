"""Which faces of a video's frames are replaced: nobody changes with the frame."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.errors import InvalidInputError
from engines.face_swap.casting import Cast
from engines.face_swap.choosing import recognised
from engines.face_swap.params import Faces, FaceSwapParams, Reference, typed
from engines.face_swap.people import People, recognisable
from engines.face_swap.selection import Chosen, at_position, in_order
from engines.face_swap.tools import Tools
from engines.faces.face import Face, Pixels
from engines.faces.nets.embedder import Vector
from engines.media.index import VideoIndex
from engines.media.video import read_frames
from engines.spec import RunItem


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What a frame shows."""

    faces: list[Face]
    vectors: list[Vector | None] | None  # of the faces, where persons matter


@dataclass(frozen=True, slots=True)
class FrameChooser:
    """Chooses frame by frame; every frame for itself, so any part of a video gives the same.

    Args:
        wanted: of the job.
        cast: who plays whom.
        persons: unit vectors of who is looked for, by number of the role; empty: any face will do.
    """

    wanted: FaceSwapParams
    cast: Cast
    persons: dict[int, Vector]

    def look(self, pixels: Pixels, tools: Tools) -> Looked:
        """Find the faces of a frame, and what tells them apart."""
        faces = tools.detect(pixels)
        if not faces or not self.persons:
            return Looked(faces, None)
        return Looked(faces, tools.recognise(pixels, faces))

    def choose(self, looked: Looked) -> list[Chosen]:
        """The faces to replace; none in most frames of many videos."""
        if not self.persons:
            ordered = in_order(looked.faces, self.wanted.order)
            return [Chosen(face, role=0) for face in ordered[: self.cast.most_faces]]
        if looked.vectors is None:
            return []
        vectors = looked.vectors
        return recognised(
            looked.faces,
            self.persons,
            recognise=lambda _: vectors,
            threshold=self.wanted.threshold,
        )


def wanted_persons(
    item: RunItem, cast: Cast, tools: Tools, people: People, index: VideoIndex
) -> dict[int, Vector]:
    """Who is looked for in a video, by number of the role.

    With ``faces`` one it is the first person in order of the first frame that shows a face, where
    persons can be told apart; without an embedder each frame has its own first face.

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
