import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.face_swap.params import Order
from engines.face_swap.selection import at_position, in_order, match, source_face
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
    assert in_order(FOUND, order) == expected
    for position, each in enumerate(expected):
        assert at_position(FOUND, position, order, where="it") is each


def test_equal_faces_keep_the_detectors_order():
    twins = [face(0, 0, 10, 0.9), face(50, 0, 10, 0.8)]
    assert in_order(twins, Order.LARGE_SMALL) == twins


def test_a_position_beyond_the_last_face_is_refused():
    with pytest.raises(InvalidInputError, match="use 0 to 2") as caught:
        at_position(FOUND, 3, Order.LEFT_RIGHT, where="the target")
    assert caught.value.code == "no_such_face"


def test_a_source_with_several_faces_needs_a_choice_unless_one_is_clearly_the_largest():
    near, far = face(0, 0, 100, 0.9), face(200, 0, 49, 0.9)
    assert source_face([far, near], None, where="it") is near
    with pytest.raises(InvalidInputError, match="source_face") as caught:
        source_face([face(200, 0, 51, 0.9), near], None, where="source picture 0")
    assert caught.value.code == "several_source_faces"
    assert source_face(FOUND, 2, where="it") is B  # by size, whatever the target's order
    for faces, position in [([], None), ([], 1)]:
        with pytest.raises(InvalidInputError, match="source picture 1") as caught:
            source_face(faces, position, where="source picture 1")
        assert caught.value.code == "no_face_found"


def vector(*values: float) -> np.ndarray:
    made = np.array(values, dtype=np.float32)
    return made / np.linalg.norm(made)


def test_the_most_alike_are_matched_first_and_each_once():
    anna, bert = vector(1, 0, 0), vector(0, 1, 0)
    # the first face is a little like both, the second very much like Anna
    faces = [vector(0.7, 0.6, 0.4), vector(0.99, 0.1, 0), vector(0, 0, 1)]
    found = match(faces, [anna, bert], threshold=0.4)
    assert {who: number for who, (number, _) in found.items()} == {0: 1, 1: 0}
    assert found[0][1] == pytest.approx(0.995, abs=1e-3)


def test_nobody_below_the_threshold_is_matched():
    assert match([vector(1, 2)], [vector(2, -1)], threshold=0.0) == {0: (0, pytest.approx(0.0))}
    assert match([vector(1, 2)], [vector(2, -1)], threshold=0.01) == {}
    assert match([], [vector(1, 0)], threshold=0.0) == match([vector(1, 0)], [], threshold=0) == {}
