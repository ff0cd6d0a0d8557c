import numpy as np

from engines.face_swap.binding import Binding
from engines.face_swap.casting import cast
from engines.face_swap.params import FaceSwapParams
from engines.faces.face import Face
from engines.faces.tracks import Tracked

ANNA, BERT = np.array([1, 0, 0], np.float32), np.array([0, 1, 0], np.float32)


def seen(track: int, *like: float, x: float = 0.0, side: float = 50.0) -> Tracked:
    """A face of a track that is so like Anna and Bert."""
    vector = np.zeros((0, 3), np.float32)
    if like:
        rest = np.sqrt(max(0.0, 1 - sum(each**2 for each in like)))
        vector = np.array([[*like, rest]], np.float32)
    face = Face(box=(x, 0, x + side, side), points=np.zeros((5, 2)), score=0.9)
    return Tracked(track, face, vector, is_seen=True)


def binding(persons: dict[int, np.ndarray], **params: object) -> Binding:
    wanted = FaceSwapParams.model_validate(params)
    return Binding(wanted, cast(wanted, pictures=max(1, len(persons))), persons)


def roles(bound: Binding, *faces: Tracked) -> dict[int, int]:
    """Role by track."""
    by_face = {id(each.face): each.track for each in faces}
    return {by_face[id(each.face)]: each.role for each in bound.choose(faces)}


def test_who_was_recognised_stays_so_when_the_head_turns_away():
    bound = binding({0: ANNA})
    assert roles(bound, seen(7, 0.3, 0)) == {}
    assert roles(bound, seen(7, 0.45, 0)) == {7: 0}
    assert roles(bound, seen(7, 0.25, 0)) == {7: 0}
    # a track that comes is not compared with what another was
    assert roles(bound, seen(8, 0.25, 0)) == {}


def test_who_turns_out_to_be_somebody_else_is_let_go():
    bound = binding({0: ANNA})
    assert roles(bound, seen(7, 0.41, 0)) == {7: 0}
    assert roles(bound, seen(7, 0.1, 0)) == {}
    assert roles(bound, seen(7, 0.3, 0)) == {}


def test_a_role_goes_over_only_to_somebody_clearly_more_like_the_person():
    bound = binding({0: ANNA})
    assert roles(bound, seen(1, 0.6, 0), seen(2, 0.5, 0)) == {1: 0}
    assert roles(bound, seen(1, 0.6, 0), seen(2, 0.65, 0)) == {1: 0}
    assert roles(bound, seen(1, 0.6, 0), seen(2, 0.8, 0)) == {2: 0}


def test_two_people_never_exchange_their_faces():
    pair = [{"source": n, "reference": {"position": n}} for n in (0, 1)]
    bound = binding({0: ANNA, 1: BERT}, mapping=pair)
    assert roles(bound, seen(1, 0.7, 0.1), seen(2, 0.1, 0.7)) == {1: 0, 2: 1}
    # both turn away and look a little like the other
    assert roles(bound, seen(1, 0.3, 0.35), seen(2, 0.35, 0.3)) == {1: 0, 2: 1}
    assert roles(bound, seen(2, 0.35, 0.3)) == {2: 1}


def test_without_persons_whoever_was_replaced_goes_on_to_be():
    """The other grows larger: the first in order is not who it was, and nobody changes."""
    bound = binding({})
    assert roles(bound, seen(1, side=60), seen(2, side=50)) == {1: 0}
    assert roles(bound, seen(1, side=60), seen(2, side=80)) == {1: 0}
    assert roles(bound, seen(2, side=80)) == {2: 0}


def test_many_are_at_most_as_many_as_may_be_and_do_not_take_turns():
    bound = binding({}, faces="many", max_faces=2)
    assert roles(bound, seen(1, side=30), seen(2, side=40), seen(3, side=20)) == {1: 0, 2: 0}
    assert roles(bound, seen(1, side=30), seen(2, side=40), seen(3, side=90)) == {1: 0, 2: 0}
    assert roles(bound, seen(2, side=40), seen(3, side=90)) == {2: 0, 3: 0}
