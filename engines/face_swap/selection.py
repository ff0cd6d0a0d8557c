"""Which of the faces found in a target are replaced, and by whom. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from engines.errors import InvalidInputError
from engines.face_swap.params import Order
from engines.faces.face import Face
from engines.faces.geometry import UnusableFaceError
from engines.faces.nets.embedder import Vector

KEYS: dict[Order, Callable[[Face], float]] = {
    Order.LARGE_SMALL: lambda face: -face.area,
    Order.SMALL_LARGE: lambda face: face.area,
    Order.LEFT_RIGHT: lambda face: face.box[0],
    Order.RIGHT_LEFT: lambda face: -face.box[0],
    Order.TOP_BOTTOM: lambda face: face.box[1],
    Order.BOTTOM_TOP: lambda face: -face.box[1],
    Order.BEST_WORST: lambda face: -face.score,
    Order.WORST_BEST: lambda face: face.score,
}
# A box this near to one side of its picture was cut there, unless the other side, in box widths,
# is near too: then the picture was cut around the face.
EDGE_PX, EDGE_SHARE = 1.0, 0.05
# A face this many times as large in area as the next one is what a picture is of.
DOMINANT = 4.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """A face that is replaced, and the role that replaces it."""

    face: Face
    role: int
    likeness: float | None = None  # cosine with the reference; None: nobody was compared


def in_order(faces: Sequence[Face], order: Order) -> list[Face]:
    """The faces as they are counted."""
    return sorted(faces, key=KEYS[order])


def at_position(faces: Sequence[Face], position: int, order: Order, *, where: str) -> Face:
    """The face at a position.

    Raises:
        InvalidInputError: ``no_face_found``, or ``no_such_face`` for a position beyond the last.
    """
    if not faces:
        raise no_face(where)
    if position >= len(faces):
        message = (
            f"position {position} asks for face number {position + 1}, but {where} has "
            f"{len(faces)}; use 0 to {len(faces) - 1}"
        )
        raise InvalidInputError(message, code="no_such_face")
    return in_order(faces, order)[position]


def source_face(faces: Sequence[Face], position: int | None, *, where: str) -> Face:
    """The face that a source picture gives.

    Args:
        faces: of that picture.
        position: counted by size, the largest first; None: the only face, or the one that all
            others are small beside.
        where: the picture, as messages name it.

    Raises:
        InvalidInputError: ``no_face_found``, ``no_such_face``, ``several_source_faces``.
    """
    if position is not None:
        return at_position(faces, position, Order.LARGE_SMALL, where=where)
    if not faces:
        raise no_face(where)
    first, *others = in_order(faces, Order.LARGE_SMALL)
    if others and others[0].area * DOMINANT > first.area:
        message = (
            f"{where} shows {len(faces)} faces and none is clearly the largest; cut the picture to "
            "one face, or choose one by size with source_face (0 is the largest)"
        )
        raise InvalidInputError(message, code="several_source_faces")
    return first


def check_whole(face: Face, *, width: int, height: int, where: str) -> None:
    """Refuse a source face that its picture cuts off.

    Detectors guess what lies beyond the edge, so half a face would go onto the whole of another. A
    picture that was cut tightly on both sides shows a whole face.

    Raises:
        UnusableFaceError: code ``face_unusable``.
    """
    x1, _, x2, _ = face.box
    near, far = sorted((x1, width - x2))
    is_cut = near <= EDGE_PX and far > EDGE_SHARE * (x2 - x1)
    low, high = face.points.min(axis=0), face.points.max(axis=0)
    is_inside = low.min() >= 0 and high[0] <= width - 1 and high[1] <= height - 1
    if is_inside and not is_cut:
        return
    message = f"{where} cuts the face off; use an uncropped picture that shows it whole"
    raise UnusableFaceError(message)


def match(
    vectors: Sequence[Vector], references: Sequence[Vector], *, threshold: float
) -> dict[int, tuple[int, float]]:
    """Find each reference among faces: the most alike pair first, each face and person once.

    Args:
        vectors: of the faces, unit norms.
        references: of the persons looked for, unit norms.
        threshold: least cosine.

    Returns:
        By number of the reference: number of the face, and their cosine.
    """
    if not len(vectors) or not len(references):
        return {}
    likeness = np.stack(references) @ np.stack(vectors).T
    found: dict[int, tuple[int, float]] = {}
    while (best := float(likeness.max())) >= threshold:
        who, face = (int(each) for each in np.unravel_index(likeness.argmax(), likeness.shape))
        found[who] = (face, best)
        likeness[who, :], likeness[:, face] = -np.inf, -np.inf
    return found


def no_face(where: str) -> InvalidInputError:
    """The refusal of a picture without a face that can be seen."""
    message = (
        f"no face was found in {where}; send a sharp picture with a frontal face of at least about "
        "24 pixels"
    )
    return InvalidInputError(message, code="no_face_found")
