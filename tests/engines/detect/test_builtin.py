import numpy as np
import pytest

from engines.detect.builtin import FACE, Builtin
from engines.detect.detection import Question
from engines.detect.detector import detect_frames
from engines.metering import StageClock

ASK = Question(size=(640, 640))


@pytest.fixture(scope="module")
def builtin():
    return Builtin()


def found(builtin, pixels, question=ASK):
    return detect_frames(builtin, [pixels], question, StageClock())[0]


def test_the_face_of_a_portrait_is_found_where_it_is(builtin, scenes):
    [face] = found(builtin, scenes("astronaut"))
    assert (face.class_id, face.label) == (FACE, "face")
    assert np.abs(np.subtract(face.box, (176, 66, 272, 162))).max() < 25


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", "hubble_deep_field"])
def test_where_nobody_is_nobody_is_found(builtin, scenes, name):
    assert found(builtin, scenes(name)) == []


def test_size_does_not_move_the_box(builtin, scenes):
    astronaut = scenes("astronaut")
    [large], [small] = found(builtin, astronaut), found(builtin, astronaut, Question((320, 320)))
    assert np.abs(np.subtract(large.box, small.box)).max() < 25


def test_classes_and_confidence_filter(builtin, scenes):
    astronaut = scenes("astronaut")
    assert found(builtin, astronaut, Question((640, 640), classes=(0,))) == []
    assert found(builtin, astronaut, Question((640, 640), conf=1.0)) == []


@pytest.mark.parametrize("shape", [(1, 1), (3, 2000), (2000, 3), (64, 64)])
def test_odd_shapes_are_looked_at_without_harm(builtin, shape):
    assert found(builtin, np.full((*shape, 3), 90, dtype=np.uint8)) == []


def test_people_on_a_beach_are_found_upright(builtin, test_media):
    from engines.media.images import read_image

    people = found(builtin, read_image(test_media / "scenes" / "kodim12.png").pixels)
    assert [each.label for each in people] == ["person"]
