"""Which faces of a picture are replaced, when persons have to be recognised too."""

from collections.abc import Callable, Sequence

from engines.errors import InvalidInputError
from engines.face_swap.casting import Cast
from engines.face_swap.params import FaceSwapParams
from engines.face_swap.selection import Chosen, at_position, in_order, match, no_face
from engines.faces.face import Face
from engines.faces.nets.embedder import Vector

Recognise = Callable[[Sequence[Face]], Sequence[Vector | None]]  # of faces of a picture


def choose(
    faces: Sequence[Face],
    *,
    wanted: FaceSwapParams,
    cast: Cast,
    references: dict[int, Vector],
    recognise: Recognise,
) -> list[Chosen]:
    """Choose in a picture.

    Args:
        faces: all that were found in it.
        wanted: of the job.
        cast: who plays whom.
        references: unit vectors of persons that other pictures show, by number of the role.
        recognise: unit vectors of faces; is called only where there are such persons.

    Returns:
        The faces to replace, the first in order first; not empty.

    Raises:
        InvalidInputError: ``no_face_found``, ``no_such_face`` or ``no_matching_face``.
    """
    if not faces:
        raise no_face("the target")
    ordered = in_order(faces, wanted.order)
    if not cast.references:
        return [Chosen(face, role=0) for face in ordered[: cast.most_faces]]
    placed = {
        number: at_position(faces, role.reference.position, wanted.order, where="the target")
        for number, role in enumerate(cast.roles)
        if role.reference is not None and role.reference.file is None
    }
    chosen = [Chosen(face, number) for number, face in placed.items()]
    others = [face for face in ordered if all(face is not taken for taken in placed.values())]
    if references:
        chosen += recognised(others, references, recognise=recognise, threshold=wanted.threshold)
    if not chosen:
        message = (
            f"none of the {len(faces)} faces in the target is like the reference; send a clearer "
            "reference picture, or lower threshold"
        )
        raise InvalidInputError(message, code="no_matching_face")
    return sorted(chosen, key=lambda each: [each.face is face for face in ordered].index(True))


def recognised(
    faces: Sequence[Face], references: dict[int, Vector], *, recognise: Recognise, threshold: float
) -> list[Chosen]:
    """Those faces that are one of the persons looked for, each person once at most."""
    if not faces or not references:
        return []
    pairs = zip(faces, recognise(faces), strict=True)
    known = [(face, vector) for face, vector in pairs if vector is not None]
    roles = list(references)
    found = match(
        [vector for _, vector in known], [references[role] for role in roles], threshold=threshold
    )
    return [Chosen(known[n][0], roles[who], likeness) for who, (n, likeness) in found.items()]
