"""Which of the faces found in a target are replaced. Pure."""

from collections.abc import Callable, Sequence

from engines.errors import InvalidInputError
from engines.face_swap.params import Faces, FaceSwapParams, Order
from engines.faces.face import Face

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


def most_faces(params: FaceSwapParams) -> int:
    """Return how many faces a picture can cost at most."""
    return params.max_faces if params.faces is Faces.MANY else 1


def choose(faces: Sequence[Face], params: FaceSwapParams) -> list[Face]:
    """Return the faces to replace, in the order asked for.

    Raises:
        InvalidInputError: ``no_face_found``, or ``no_such_face`` for a reference beyond the last.
    """
    if not faces:
        raise InvalidInputError(
            "no face was found in the target; send a picture with a frontal face of at least "
            "about 24 pixels",
            code="no_face_found",
        )
    ordered = sorted(faces, key=KEYS[params.order])
    if params.faces is not Faces.REFERENCE:
        return ordered[: most_faces(params)]
    if params.reference >= len(ordered):
        raise InvalidInputError(
            f"reference {params.reference} asks for face number {params.reference + 1}, but the "
            f"target has {len(ordered)}; use 0 to {len(ordered) - 1}",
            code="no_such_face",
        )
    return [ordered[params.reference]]
