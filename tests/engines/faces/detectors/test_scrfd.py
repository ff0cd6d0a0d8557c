import cv2
import numpy as np
import pytest
from face_networks import HEADS, scrfd

from engines.errors import InvalidInputError
from engines.faces.detectors.scrfd import AUTO_SIZES, Scrfd, decode
from engines.faces.nets.contracts import ContractError
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.runners.ort import open_onnx


def silent(outputs: int, size=(64, 96)) -> list[np.ndarray]:
    strides, anchors, has_points = HEADS[outputs]
    kinds = (1, 4, 10) if has_points else (1, 4)
    return [
        np.zeros(((size[0] // stride) * (size[1] // stride) * anchors, numbers), np.float32)
        for numbers in kinds
        for stride in strides
    ]


@pytest.mark.parametrize("outputs", HEADS)
def test_one_anchor_decodes_to_the_face_it_describes(outputs):
    size = (64, 96)  # not square: eight columns and twelve rows of the finest stride
    strides, anchors, has_points = HEADS[outputs]
    arrays = silent(outputs, size)
    row, column = 9, 3
    place = (row * 8 + column) * anchors + anchors - 1
    arrays[0][place] = 0.75
    arrays[len(strides)][place] = [1, 2, 3, 4]
    if has_points:
        arrays[2 * len(strides)][place] = np.arange(10) / 2
    (found,) = decode(arrays, size=size, score_min=0.5)
    x, y = column * 8, row * 8
    assert found[:4].tolist() == [x - 8, y - 16, x + 24, y + 32]
    assert found[-1] == 0.75
    assert len(found) == (15 if has_points else 5)
    if has_points:
        assert found[4:8].tolist() == [x, y + 4, x + 8, y + 12]


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scrfd")

    def make(**options):
        name = "-".join(f"{key}{value}" for key, value in options.items()) or "plain"
        return open_onnx(scrfd(folder / f"{name}.onnx", **options), threads=1)

    return make


def test_several_pictures_in_one_run_give_what_single_runs_give(networks, astronaut, hopper):
    batched, single = networks(batched=True), networks()
    pictures = [astronaut, hopper, astronaut[::2, ::2]]
    together = Scrfd(batched, name="b@1").detect_many(pictures)
    assert [len(faces) > 2 for faces in together] == [True, True, True]
    for pixels, faces in zip(pictures, together, strict=True):
        alone = Scrfd(single, name="s@1").detect(pixels)
        assert len(alone) == len(faces)
        for one, other in zip(alone, faces, strict=True):
            assert np.allclose(one.points, other.points, atol=1e-3)
            assert np.allclose(one.box, other.box, atol=1e-3)


def test_without_a_size_two_passes_are_made_where_the_file_allows_it(networks, astronaut):
    free = Scrfd(networks(), name="x@1")
    assert free.sizes == AUTO_SIZES
    fixed = Scrfd(networks(size=(320, 256)), name="x@1")
    assert fixed.sizes == ((320, 256),)
    one = Scrfd(networks(), name="x@1", sizes=[(640, 640)])
    assert len(fixed.detect(astronaut)) > 0
    # a face of the first pass that overlaps no better one is there beside those of the second
    boxes = {tuple(np.round(face.box, 3)) for face in free.detect(astronaut)}
    assert boxes - {tuple(np.round(face.box, 3)) for face in one.detect(astronaut)}


def test_sizes_that_cannot_be_are_refused(networks):
    with pytest.raises(InvalidInputError, match="multiples of 32") as caught:
        Scrfd(networks(), name="x@1", sizes=[(100, 640)])
    assert caught.value.code == "img_size_unsupported"
    with pytest.raises(InvalidInputError, match="exported for 320x256 only, not for 640x640"):
        Scrfd(networks(size=(320, 256)), name="x@1", sizes=[(640, 640)])


def test_other_networks_are_refused_by_what_they_lack(networks):
    with pytest.raises(ContractError, match="without their five points"):
        Scrfd(networks(outputs=6), name="x@1")
    spec = TensorSpec("input", (1, 3, None, None), np.dtype(np.float32))
    other = FakeRunner(lambda _: {}, inputs=(spec,), outputs=(spec,) * 7)
    with pytest.raises(ContractError, match="they have 7 outputs"):
        Scrfd(other, name="x@1")


def test_a_speck_and_black_are_no_faces_of_a_network_that_sees_none(networks):
    detector = Scrfd(networks(), name="x@1", score_min=0.999)
    for shape in ((1, 1, 3), (2, 900, 3), (64, 64, 3)):
        assert detector.detect(np.zeros(shape, np.uint8)) == []
    assert detector.detect_many([]) == []


def test_a_picture_is_searched_in_rgb(networks, astronaut):
    detector = Scrfd(networks(), name="x@1")
    swapped = cv2.cvtColor(astronaut, cv2.COLOR_BGR2RGB)
    assert [face.box for face in detector.detect(astronaut)] != [
        face.box for face in detector.detect(swapped)
    ]
