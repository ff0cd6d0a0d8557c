import numpy as np
import pytest
from face_networks import landmarks, scrfd

from engines.faces.face import Face
from engines.faces.nets.contracts import ContractError
from engines.faces.nets.landmarks import LandmarkNetwork, Landmarks
from engines.runners.ort import open_onnx

FACE = Face(box=(100, 60, 200, 190), points=np.zeros((5, 2)), score=0.9)


@pytest.fixture(scope="module")
def finder(tmp_path_factory):
    path = landmarks(tmp_path_factory.mktemp("landmarks") / "fan.onnx")
    return LandmarkNetwork(open_onnx(path, threads=1))


def test_points_come_back_from_the_grid_to_the_picture(finder):
    grey = np.full((300, 400, 3), 102, np.uint8)  # the network moves its points by the mean, 0.4
    found = finder.find(grey, FACE)
    # the longer side of the box, 130, is 195 pixels of the crop: one cell of the grid is 8 / 3
    cell = 256 / 64 * 130 / 195
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    ring = 32.4 + 20 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    expected = np.array([150, 125]) + (ring - 32) * cell
    assert np.allclose(found.points, expected, atol=0.02)
    assert found.score == pytest.approx(0.4 / 0.9, abs=1e-3)


def test_five_points_are_the_middles_of_the_eyes_the_nose_and_the_mouth():
    points = np.arange(136, dtype=float).reshape(68, 2)
    five = Landmarks(points, 1.0).five()
    assert five[0].tolist() == points[36:42].mean(axis=0).tolist()
    assert five[2:].tolist() == points[[30, 48, 54]].tolist()


def test_points_that_are_not_sure_leave_the_detectors_own(finder):
    unsure = finder.refine(np.full((300, 400, 3), 100, np.uint8), FACE)
    assert np.array_equal(unsure.points, FACE.points)
    sure = finder.refine(np.full((300, 400, 3), 200, np.uint8), FACE)
    assert not np.array_equal(sure.points, FACE.points)
    assert sure.box == FACE.box


def test_a_dark_face_is_brightened_before_it_is_looked_at(finder):
    night = np.zeros((300, 400, 3), np.uint8)
    night[60:190, 100:200] = np.linspace(0, 40, 100, dtype=np.uint8)[None, :, None]
    raised = finder.find(night, FACE).points - finder.find(np.zeros_like(night), FACE).points
    # the mean moves the points: of the dark crop it is 0.04, after raising contrast more
    plain = night[60:190, 100:200].mean() / 255 * (100 * 130) / (130 * 256 / 195) ** 2 * 8 / 3
    assert raised.mean() > 1.15 * plain


def test_weights_of_another_contract_are_refused_by_name(tmp_path):
    with pytest.raises(ContractError, match="are no 2DFAN4"):
        LandmarkNetwork(open_onnx(scrfd(tmp_path / "scrfd.onnx"), threads=1))
