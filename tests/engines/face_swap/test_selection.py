import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.face_swap.params import Faces, FaceSwapParams, Order
from engines.face_swap.selection import choose, most_faces
from engines.faces.face import Face


def face(x: float, y: float, side: float, score: float) -> Face:
    return Face(box=(x, y, x + side, y + side), points=np.zeros((5, 2)), score=score)


A, B, C = face(0, 50, 30, 0.7), face(60, 10, 20, 0.9), face(90, 80, 40, 0.8)
FOUND = [B, C, A]  # as a detector gives them: best first


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (Order.LARGE_SMALL, [C, A, B]),
        (Order.SMALL_LARGE, [B, A, C]),
        (Order.LEFT_RIGHT, [A, B, C]),
        (Order.RIGHT_LEFT, [C, B, A]),
        (Order.TOP_BOTTOM, [B, A, C]),
        (Order.BOTTOM_TOP, [C, A, B]),
        (Order.BEST_WORST, [B, C, A]),
        (Order.WORST_BEST, [A, C, B]),
    ],
)
def test_faces_are_counted_in_the_order_asked_for(order, expected):
    many = FaceSwapParams(faces=Faces.MANY, order=order)
    assert choose(FOUND, many) == expected
    assert choose(FOUND, FaceSwapParams(order=order)) == expected[:1]
    for position, each in enumerate(expected):
        params = FaceSwapParams(faces=Faces.REFERENCE, order=order, reference=position)
        assert choose(FOUND, params) == [each]


def test_equal_faces_keep_the_detectors_order():
    twins = [face(0, 0, 10, 0.9), face(50, 0, 10, 0.8)]
    assert choose(twins, FaceSwapParams(faces=Faces.MANY)) == twins


def test_many_stops_at_max_faces():
    params = FaceSwapParams(faces=Faces.MANY, max_faces=2)
    assert choose(FOUND, params) == [C, A]
    assert most_faces(params) == 2
    assert most_faces(FaceSwapParams(max_faces=2)) == 1


def test_a_reference_beyond_the_last_face_is_refused():
    with pytest.raises(InvalidInputError, match="use 0 to 2") as caught:
        choose(FOUND, FaceSwapParams(faces=Faces.REFERENCE, reference=3))
    assert caught.value.code == "no_such_face"


def test_no_face_at_all_is_refused_by_name():
    with pytest.raises(InvalidInputError, match="target") as caught:
        choose([], FaceSwapParams())
    assert caught.value.code == "no_face_found"
