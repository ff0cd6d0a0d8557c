import cv2
import numpy as np
import pytest

from engines.faces.yunet import SIDE_PX, STRIDES, YuNet, decode, letterbox, suppress
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.runners.ort import open_onnx

FILE = "face_detection_yunet_2023mar.onnx"


def silent_outputs(side: int = SIDE_PX) -> dict[str, np.ndarray]:
    outputs = {}
    for stride in STRIDES:
        cells = (side // stride) ** 2
        for name, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            outputs[f"{name}_{stride}"] = np.zeros((1, cells, width), np.float32)
    return outputs


def test_one_cell_decodes_to_the_face_it_describes():
    outputs = silent_outputs()
    row, column, stride = 7, 11, 16
    cell = row * (SIDE_PX // stride) + column
    outputs["cls_16"][0, cell] = 0.81
    outputs["obj_16"][0, cell] = 1.0
    outputs["bbox_16"][0, cell] = [0.5, -0.25, np.log(4), np.log(6)]
    outputs["kps_16"][0, cell] = np.arange(10) / 10
    (found,) = decode(outputs, side_px=SIDE_PX, score_min=0.5)
    centre, half = np.array([11.5, 6.75]) * 16, np.array([32, 48])
    assert np.allclose(found[:4], np.concatenate([centre - half, centre + half]), atol=1e-4)
    assert np.allclose(found[4:6], [11 * 16, 7.1 * 16], atol=1e-4)
    assert found[14] == pytest.approx(0.9)


def test_nothing_certain_enough_means_no_face():
    runner = FakeRunner(
        lambda _: silent_outputs(),
        inputs=(TensorSpec("input", (1, 3, SIDE_PX, SIDE_PX), np.dtype(np.float32)),),
        outputs=(),
    )
    detector = YuNet(runner, name="yunet@test")
    assert detector.detect(np.zeros((40, 90, 3), np.uint8)) == []


def test_of_overlapping_boxes_the_best_stays():
    row = np.zeros((3, 15))
    row[:, :4] = [[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]]
    row[:, 14] = [0.8, 0.9, 0.7]
    kept = suppress(row, overlap_max=0.3)
    assert [each[14] for each in kept] == [0.9, 0.7]


@pytest.mark.parametrize("shape", [(480, 1200), (1200, 480), (50, 30), (1, 1)])
def test_the_letterbox_keeps_proportions_and_sits_top_left(shape):
    blob, ratio = letterbox(np.full((*shape, 3), 200, np.uint8), side_px=SIDE_PX)
    assert blob.shape == (1, 3, SIDE_PX, SIDE_PX)
    assert ratio * max(shape) == pytest.approx(SIDE_PX)
    assert blob[0, 0, 0, 0] == 200
    lit = int(shape[0] * ratio), int(shape[1] * ratio)
    assert (blob > 0).sum() == 3 * max(1, lit[0]) * max(1, lit[1])


@pytest.fixture(scope="module")
def yunet(model_mirror):
    with open_onnx(model_mirror / FILE, threads=2) as runner:
        yield YuNet(runner, name="yunet@2023mar")


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_the_network_agrees_with_opencvs_own_decoder(name, yunet, model_mirror, request):
    pixels = request.getfixturevalue(name)
    blob, ratio = letterbox(pixels, side_px=SIDE_PX)
    canvas = np.ascontiguousarray(blob[0].transpose(1, 2, 0).astype(np.uint8))
    reference = cv2.FaceDetectorYN.create(
        str(model_mirror / FILE), "", (SIDE_PX, SIDE_PX), 0.75, 0.3
    )
    _, rows = reference.detect(canvas)
    (face,) = yunet.detect(pixels)
    assert len(rows) == 1
    x, y, width, height = rows[0][:4] / ratio
    assert np.allclose(face.box, [x, y, x + width, y + height], atol=1.0)
    assert np.allclose(face.points.ravel(), rows[0][4:14] / ratio, atol=1.0)
    assert face.score == pytest.approx(float(rows[0][14]), abs=0.01)


def test_every_face_of_a_group_photograph_is_found(yunet, test_media):
    pixels = cv2.imread(str(test_media / "faces" / "group_solvay_1927.jpg"))
    assert len(yunet.detect(pixels)) == 29


def test_a_cat_is_not_a_face(yunet, cat):
    assert yunet.detect(cat) == []
