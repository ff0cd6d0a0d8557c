import numpy as np
import pytest

from engines.faces.detectors.turned import ANGLES, TurnedPasses, way_back
from engines.faces.detectors.yunet import YuNet
from engines.faces.face import Face
from engines.faces.geometry import apply


class Bright:
    """Finds the only white pixel of a picture."""

    name = "bright@1"

    def detect(self, pixels):
        ys, xs = np.nonzero(pixels[..., 0] == 255)
        x, y = float(xs[0]), float(ys[0])
        points = np.tile([x, y], (5, 1)) + np.arange(5)[:, None] * [1.0, 0.0]
        return [Face(box=(x - 2, y - 3, x + 4, y + 5), points=points, score=0.9)]

    def detect_many(self, pictures):
        return [self.detect(each) for each in pictures]


@pytest.mark.parametrize("angle", ANGLES)
def test_points_of_a_turned_picture_come_back_to_their_place(angle):
    pixels = np.zeros((40, 70, 3), np.uint8)
    pixels[11, 23] = 255
    (face,) = TurnedPasses(Bright(), [angle]).detect(pixels)
    assert face.points[0].tolist() == [23, 11]
    step = (face.points[1] - face.points[0]).tolist()
    assert step == {0: [1, 0], 90: [0, 1], 180: [-1, 0], 270: [0, -1]}[angle]
    x1, y1, x2, y2 = face.box
    assert x1 < 23 < x2
    assert y1 < 11 < y2


def test_the_corners_of_the_picture_stay_its_corners():
    for angle in ANGLES:
        turned = np.rot90(np.zeros((40, 70)), angle // 90).shape
        far = apply(way_back(angle, (70, 40)), np.array([[turned[1] - 1.0, turned[0] - 1.0]]))
        near = apply(way_back(angle, (70, 40)), np.array([[0.0, 0.0]]))
        assert set(far.ravel()) | set(near.ravel()) <= {0.0, 69.0, 39.0}
        assert (np.abs(far - near) == [[69, 39]]).all()


def test_a_face_seen_in_several_turns_is_one_face():
    pixels = np.zeros((40, 70, 3), np.uint8)
    pixels[11, 23] = 255
    assert len(TurnedPasses(Bright()).detect(pixels)) == 1


@pytest.mark.parametrize("angles", [[], [0, 0], [45]])
def test_only_quarter_turns_each_once(angles):
    with pytest.raises(ValueError, match="each once"):
        TurnedPasses(Bright(), angles)


@pytest.mark.parametrize("angle", ANGLES)
def test_a_real_face_is_found_lying_and_standing_on_its_head(angle, network, face_picture):
    upright = YuNet(network("face_detection_yunet_2023mar.onnx"), name="yunet@2023mar")
    pixels = face_picture("astronaut.png")
    (expected,) = upright.detect(pixels)
    turned = np.ascontiguousarray(np.rot90(pixels, -angle // 90))
    (face,) = TurnedPasses(upright).detect(turned)
    back = way_back(angle, (turned.shape[1], turned.shape[0]))
    # the same five points in the same order, wherever the head points
    standing = apply(np.linalg.inv(np.vstack([back, [0, 0, 1]]))[:2], face.points)
    assert np.abs(standing - expected.points).max() < 1.5
    assert TurnedPasses(upright).name == "yunet@2023mar/angles=0-90-180-270"
