import cv2
import numpy as np

from engines.faces.align.colour import match_colours


def test_mean_and_spread_become_those_of_what_is_covered(astronaut, hopper):
    new, behind = astronaut[60:190, 170:290], hopper[130:260, 200:320]
    inside = np.zeros(new.shape[:2], bool)
    inside[20:110, 20:100] = True
    matched = match_colours(new, behind, inside)
    for channel in range(3):
        got = cv2.cvtColor(matched, cv2.COLOR_BGR2LAB)[..., channel][inside].astype(float)
        wanted = cv2.cvtColor(behind, cv2.COLOR_BGR2LAB)[..., channel][inside].astype(float)
        had = cv2.cvtColor(new, cv2.COLOR_BGR2LAB)[..., channel][inside].astype(float)
        assert abs(got.mean() - wanted.mean()) < 2
        ratio = np.clip(wanted.std() / had.std(), 0.6, 1.6)
        assert abs(got.std() - had.std() * ratio) < 2


def test_a_mask_of_nothing_leaves_the_new_face_as_it_is(astronaut, hopper):
    inside = np.zeros((50, 50), bool)
    assert np.array_equal(
        match_colours(astronaut[:50, :50], hopper[:50, :50], inside), astronaut[:50, :50]
    )


def test_a_face_of_one_colour_gives_no_division_by_nothing(hopper):
    flat = np.full((40, 40, 3), 90, np.uint8)
    matched = match_colours(flat, hopper[200:240, 250:290], np.ones((40, 40), bool))
    assert matched.std(axis=(0, 1)).max() < 1
