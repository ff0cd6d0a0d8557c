import numpy as np
import pytest

from engines.faces.detectors.haar import HaarFaces

# Eyes, nose and mouth corners of the photographs as YuNet finds them, checked by eye; pixels.
SEEN = {
    "astronaut": [[201, 105], [245, 105], [221, 127], [204, 145], [242, 145]],
    "hopper": [[228, 194], [310, 193], [270, 239], [234, 273], [303, 273]],
}


@pytest.fixture(scope="module")
def detector():
    return HaarFaces()


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_a_frontal_face_and_its_points_are_found(name, detector, request):
    (face,) = detector.detect(request.getfixturevalue(name))
    seen = np.array(SEEN[name])
    width = face.box[2] - face.box[0]
    assert np.hypot(*(face.points - seen).T).max() < 0.12 * width
    x1, y1, x2, y2 = face.box
    assert x1 < seen[:, 0].min()
    assert y1 < seen[:, 1].min()
    assert x2 > seen[:, 0].max()
    assert y2 > seen[:, 1].max()
    assert 0 < face.score <= 1


def test_the_same_picture_gives_the_same_faces(detector, astronaut):
    first, again = detector.detect(astronaut), detector.detect(astronaut)
    assert [face.describe() for face in first] == [face.describe() for face in again]


def test_a_large_picture_is_searched_smaller_and_answers_in_its_own_pixels(detector, astronaut):
    (small,) = detector.detect(astronaut)
    (large,) = detector.detect(np.kron(astronaut, np.ones((3, 3, 1), np.uint8)))
    assert np.allclose(np.array(large.points) / 3, small.points, atol=6)


def test_no_face_in_a_cat_in_noise_or_in_a_speck(detector, cat):
    noise = np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8)
    for pixels in (cat, noise, noise[:1, :1], noise[:30, :5]):
        assert detector.detect(pixels) == []
