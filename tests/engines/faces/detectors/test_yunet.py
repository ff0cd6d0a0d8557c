import cv2
import numpy as np
import pytest

from engines.errors import InvalidInputError
from engines.faces.detectors.letterbox import fit, lay_out
from engines.faces.detectors.yunet import SIZE, STRIDES, YuNet, decode
from engines.faces.nets.contracts import ContractError
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner

FILE, DYNAMIC = "face_detection_yunet_2023mar.onnx", "yunet_n_dynamic.onnx"
KINDS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
F32 = np.dtype(np.float32)


def silent_outputs(size=SIZE, batch: int = 1) -> dict[str, np.ndarray]:
    return {
        f"{kind}_{stride}": np.zeros(
            (batch, (size[0] // stride) * (size[1] // stride), numbers), np.float32
        )
        for stride in STRIDES
        for kind, numbers in KINDS.items()
    }


def runner(outputs=silent_outputs, *, size=(640, 640), batch: int | None = 1) -> FakeRunner:
    given = outputs()
    return FakeRunner(
        lambda _: given,
        inputs=(TensorSpec("input", (batch, 3, *size), F32),),
        outputs=tuple(TensorSpec(name, (batch, None, 1), F32) for name in given),
    )


@pytest.mark.parametrize("size", [(640, 640), (320, 640), (640, 320)])
def test_one_cell_decodes_to_the_face_it_describes(size):
    outputs = {name: array[0] for name, array in silent_outputs(size).items()}
    row, column, stride = 7, 11, 16
    cell = row * (size[0] // stride) + column
    outputs["cls_16"][cell] = 0.81
    outputs["obj_16"][cell] = 1.0
    outputs["bbox_16"][cell] = [0.5, -0.25, np.log(4), np.log(6)]
    outputs["kps_16"][cell] = np.arange(10) / 10
    (found,) = decode(outputs, size=size, score_min=0.5)
    centre, half = np.array([11.5, 6.75]) * 16, np.array([32, 48])
    assert np.allclose(found[:4], np.concatenate([centre - half, centre + half]), atol=1e-4)
    assert np.allclose(found[4:6], [11 * 16, 7.1 * 16], atol=1e-4)
    assert found[14] == pytest.approx(0.9)


def test_nothing_certain_enough_means_no_face():
    assert YuNet(runner(), name="yunet@test").detect(np.zeros((40, 90, 3), np.uint8)) == []


def test_weights_of_another_network_and_sizes_it_does_not_take_are_refused():
    with pytest.raises(ContractError, match="are no YuNet"):
        YuNet(runner(lambda: {"boxes": np.zeros((1, 4))}), name="x@1")
    for size, words in (((320, 320), "exported for 640x640 only"), ((650, 640), "multiples of 32")):
        with pytest.raises(InvalidInputError, match=words) as caught:
            YuNet(runner(), name="x@1", size=size)
        assert caught.value.code == "img_size_unsupported"


@pytest.fixture(scope="module")
def yunet(network):
    return YuNet(network(FILE), name="yunet@2023mar")


@pytest.mark.parametrize(
    "name",
    ["astronaut.png", "grace_hopper.jpg", "kodim04.png", "group_solvay_1927.jpg"],
)
def test_the_network_agrees_with_opencvs_own_decoder(name, yunet, model_mirror, face_picture):
    pixels = face_picture(name)
    placed = fit((pixels.shape[1], pixels.shape[0]), SIZE)
    method = cv2.INTER_AREA if placed.scaled[0] < pixels.shape[1] else cv2.INTER_LINEAR
    reference = cv2.FaceDetectorYN.create(str(model_mirror / FILE), "", SIZE, 0.75, 0.3)
    _, rows = reference.detect(lay_out(pixels, placed, method=method))
    faces = yunet.detect(pixels)
    assert len(rows) == len(faces)
    across, down = placed.ratios
    order = {round(float(row[14]), 4): row for row in rows}
    for face in faces:
        row = min(order.values(), key=lambda each: abs(each[0] / across - face.box[0]))
        x, y, width, height = row[:4]
        box = np.array([x, y, x + width, y + height]).reshape(2, 2) / [across, down]
        assert np.abs(np.array(face.box).reshape(2, 2) - box).max() < 0.01
        points = row[4:14].reshape(5, 2) / [across, down]
        assert np.abs(face.points - points).max() < 0.01
        assert face.score == pytest.approx(float(row[14]), abs=1e-4)


def test_a_speck_is_no_face(yunet, cat):
    for pixels in (cat[:1, :1], cat[:3, :200]):
        assert yunet.detect(pixels) == []


@pytest.fixture(scope="module")
def dynamic(network):
    def at(size, score_min=0.75):
        return YuNet(network(DYNAMIC), name="yunet-n@1", size=size, score_min=score_min)

    return at


def test_a_batch_finds_what_single_pictures_find(dynamic, face_picture):
    names = ("astronaut.png", "grace_hopper.jpg", "group_situation_room_2011.jpg")
    pictures = [face_picture(name) for name in names]
    detector = dynamic((640, 640))
    together = detector.detect_many(pictures)
    assert len(together[2]) >= 10
    for pixels, faces in zip(pictures, together, strict=True):
        alone = detector.detect(pixels)
        assert len(alone) == len(faces)
        for one, other in zip(alone, faces, strict=True):
            assert np.allclose(one.box, other.box, atol=1e-3)
            assert np.allclose(one.points, other.points, atol=1e-3)


@pytest.mark.parametrize("size", [(320, 320), (640, 384), (384, 640), (960, 960)])
def test_any_size_finds_the_same_face_in_the_same_place(dynamic, face_picture, size):
    pixels = face_picture("grace_hopper.jpg")
    (expected,) = dynamic((640, 640)).detect(pixels)
    (face,) = dynamic(size).detect(pixels)
    width = expected.box[2] - expected.box[0]
    assert np.abs(face.points - expected.points).max() < 0.06 * width


def test_no_pictures_are_no_faces(yunet):
    assert yunet.detect_many([]) == []
