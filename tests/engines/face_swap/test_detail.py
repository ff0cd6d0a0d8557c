import cv2
import numpy as np
import pytest

from engines.face_swap.detail import enhance


def sharpness(pixels: np.ndarray) -> float:
    return float(cv2.Laplacian(cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY), cv2.CV_32F).std())


@pytest.mark.parametrize("level", [0, 1])
def test_the_first_levels_change_nothing(level, hopper):
    assert enhance(hopper, level=level, face_side_px=150) is hopper


def test_each_level_shows_more_detail_than_the_one_before(hopper):
    face = hopper[120:340, 180:360]
    values = [sharpness(enhance(face, level=level, face_side_px=170)) for level in (1, 2, 3)]
    assert values[1] > 1.1 * values[0]
    assert values[2] > 1.1 * values[1]
    assert values[2] < 3 * values[0]


def test_colour_and_flat_areas_stay(hopper):
    flat = np.full((60, 60, 3), (90, 120, 180), np.uint8)
    assert np.abs(enhance(flat, level=3, face_side_px=60).astype(int) - flat).max() <= 1
    face = hopper[120:340, 180:360]
    better = enhance(face, level=3, face_side_px=170)
    before, after = (cv2.cvtColor(each, cv2.COLOR_BGR2LAB)[..., 1:] for each in (face, better))
    assert np.abs(before.astype(int) - after).mean() < 2
    assert abs(better.mean() - face.mean()) < 2
