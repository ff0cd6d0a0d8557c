"""What each detector says to the pictures that people send, good and bad."""

import cv2
import numpy as np
import pytest

from engines.faces.detectors.haar import HaarFaces
from engines.faces.detectors.turned import TurnedPasses
from engines.faces.detectors.yunet import YuNet


@pytest.fixture(scope="module")
def yunet(network):
    return YuNet(network("face_detection_yunet_2023mar.onnx"), name="yunet@2023mar")


@pytest.fixture(scope="module")
def haar():
    return HaarFaces()


def small(pixels: np.ndarray, width_px: int) -> np.ndarray:
    """The astronaut with a face of so many pixels, on grey."""
    ratio = width_px / 92
    shrunk = cv2.resize(pixels, None, fx=ratio, fy=ratio, interpolation=cv2.INTER_AREA)
    canvas = np.full((640, 640, 3), 127, np.uint8)
    canvas[200 : 200 + shrunk.shape[0], 200 : 200 + shrunk.shape[1]] = shrunk
    return canvas


# name: faces for YuNet, for the cascades
PHOTOGRAPHS = {
    "astronaut.png": (1, 1),
    "grace_hopper.jpg": (1, 1),  # glasses and a cap
    "hopper_128.png": (1, 1),
    "kodim04.png": (1, 1),  # a hat
    "kodim17_statue.png": (1, 0),  # a face of stone is a face to the network
    "group_situation_room_2011.jpg": (12, 9),  # profiles, a hand before a mouth
    "group_solvay_1927.jpg": (29, 26),
}


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_the_faces_of_photographs_are_counted(name, yunet, haar, face_picture):
    pixels = face_picture(name)
    assert (len(yunet.detect(pixels)), len(haar.detect(pixels))) == PHOTOGRAPHS[name]
    # other turns neither lose a face nor invent one
    assert len(TurnedPasses(yunet).detect(pixels)) == PHOTOGRAPHS[name][0]


def test_what_is_no_face_is_none(yunet, haar, cat, test_media):
    film = cv2.VideoCapture(str(test_media / "video" / "big_buck_bunny_30s.webm"))
    film.set(cv2.CAP_PROP_POS_FRAMES, 300)
    drawing = film.read()[1]
    noise = np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8)
    flat = [np.full((400, 300, 3), level, np.uint8) for level in (0, 255)]
    for pixels in (cat, drawing, noise, *flat):
        assert yunet.detect(pixels) == []
        assert TurnedPasses(yunet).detect(pixels) == []
        assert haar.detect(pixels) == []


@pytest.mark.parametrize(("width_px", "count"), [(8, 0), (12, 1), (24, 1)])
def test_faces_are_found_down_to_twelve_pixels(width_px, count, yunet, face_picture):
    faces = yunet.detect(small(face_picture("astronaut.png"), width_px))
    assert len(faces) == count
    for face in faces:
        assert face.box[2] - face.box[0] == pytest.approx(width_px, rel=0.35)


def test_half_a_face_is_found_with_its_points_drawn_to_the_edge(yunet, face_picture):
    pixels = face_picture("astronaut.png")
    (face,) = yunet.detect(np.ascontiguousarray(pixels[:, :226]))
    assert abs(face.points[1, 0] - 226) < 3  # the other eye is at 245
    assert yunet.detect(np.ascontiguousarray(pixels[90:120, 180:270])) == []  # the eyes alone


def test_a_huge_portrait_is_found_whole(yunet, haar, face_picture):
    huge = cv2.resize(face_picture("astronaut.png")[20:200, 140:310], None, fx=25, fy=25)
    for detector in (yunet, haar):
        (face,) = detector.detect(huge)
        assert face.area > 1500**2
