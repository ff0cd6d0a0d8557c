"""Whose face goes onto whom, with a real detector and a real embedder on real people."""

import cv2
import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.face_swap.loading import load_tools
from engines.face_swap.networks import Networks
from engines.face_swap.params import FaceSwapParams
from engines.face_swap.timing import LaneClock
from engines.metering import StageClock
from engines.registry import Services


@pytest.fixture(scope="session")
def group(faces) -> np.ndarray:
    """Twelve people in a room, 2011."""
    return cv2.imread(str(faces / "group_situation_room_2011.jpg"))


def another_photograph(group: np.ndarray, box: tuple[float, ...]) -> np.ndarray:
    """The same person as another camera saw them: mirrored, smaller, with a JPEG's blocks."""
    x1, y1, x2, y2 = box
    room = x2 - x1
    left, top = max(0, int(x1 - room)), max(0, int(y1 - room))
    cut = group[top : int(y2 + room), left : int(x2 + room)][:, ::-1]
    small = cv2.resize(cut, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    return cv2.imdecode(cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 70])[1], 1)


@pytest.fixture(scope="session")
def twelve(faces, stubs):
    """Boxes of the twelve, from left to right."""
    services = Services(registry=stubs, sessions=stubs.sessions, limits=stubs.limits)
    model = stubs.resolve("face-swap", "classical")
    tools = load_tools(Networks(services, model, LaneClock(StageClock())), FaceSwapParams())
    found = tools.detect(cv2.imread(str(faces / "group_situation_room_2011.jpg")))
    assert len(found) == 12
    return sorted(face.box for face in found)


@pytest.mark.parametrize("number", range(12))
def test_the_person_of_a_reference_picture_is_found_among_twelve(
    number, group, twelve, hopper, run
):
    shown = another_photograph(group, twelve[number])
    reference = {"file": 1}
    result = run(group, hopper, shown, model="classical", faces="reference", reference=reference)
    [face] = result.data["faces"]
    assert face["box"][0] == pytest.approx(twelve[number][0], abs=0.1)
    assert face["likeness"] > 0.5
    out = cv2.imread(str(result.files[0].path))
    x1, y1, x2, y2 = (int(value) for value in twelve[number])
    changed = (out != group).any(axis=2)
    changed[max(0, y1 - 40) : y2 + 40, max(0, x1 - 40) : x2 + 40] = False
    assert not changed.any()


def difference(picture: np.ndarray, other: np.ndarray, box: tuple[float, ...]) -> float:
    """Mean difference inside a face, in 8-bit steps."""
    x1, y1, x2, y2 = (int(value) for value in box)
    return float(np.abs(picture[y1:y2, x1:x2].astype(float) - other[y1:y2, x1:x2]).mean())


def test_two_sources_go_onto_the_two_right_people_and_onto_nobody_else(
    group, twelve, astronaut, hopper, run
):
    """One is told by a picture, one by a position in the target."""
    shown = another_photograph(group, twelve[9])
    told = [{"source": 1, "reference": {"file": 2}}, {"source": 0, "reference": 0}]
    result = run(
        group, hopper, astronaut, shown, model="classical", mapping=told, order="left-right"
    )
    faces = {face["role"]: face for face in result.data["faces"]}
    assert faces[0]["box"][0] == pytest.approx(twelve[9][0], abs=0.1)
    assert faces[1]["box"][0] == pytest.approx(twelve[0][0], abs=0.1)
    assert "likeness" in faces[0]
    assert "likeness" not in faces[1]
    assert result.usage.work.quantities == {"images": 1, "faces": 2, "extra_faces": 1}
    both = cv2.imread(str(result.files[0].path))
    changed = [n for n, box in enumerate(twelve) if difference(both, group, box) > 2]
    assert changed == [0, 9]
    # each got its own source: swapping them round gives another picture in both places
    told = [{"source": 0, "reference": {"file": 2}}, {"source": 1, "reference": 0}]
    result = run(
        group, hopper, astronaut, shown, model="classical", mapping=told, order="left-right"
    )
    turned = cv2.imread(str(result.files[0].path))
    assert all(difference(turned, both, twelve[n]) > 2 for n in (0, 9))


def test_a_person_who_is_not_there_is_left_out_and_named(group, twelve, astronaut, hopper, run):
    told = [{"source": 0, "reference": {"file": 1}}, {"source": 0, "reference": 3}]
    result = run(group, hopper, astronaut, model="classical", mapping=told)
    assert [face["role"] for face in result.data["faces"]] == [1]
    assert result.data["roles_missing"] == [0]
    assert result.usage.work.quantities["faces"] == 1
    with pytest.raises(InvalidInputError, match="threshold") as caught:
        run(
            group,
            hopper,
            astronaut,
            model="classical",
            faces="reference",
            reference={"file": 1},
        )
    assert caught.value.code == "no_matching_face"
    anybody = run(
        group,
        hopper,
        astronaut,
        model="classical",
        faces="reference",
        reference={"file": 1},
        threshold=0.0,
    )
    assert anybody.data["faces"][0]["likeness"] < 0.3
