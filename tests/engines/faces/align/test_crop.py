import numpy as np
import pytest

from engines.faces.align.crop import Border, crop_face, crop_matrix, stacked
from engines.faces.align.templates import Template, template_points
from engines.faces.geometry import UnusableFaceError, apply

# The astronaut's face as seen by eye.
POINTS = np.array([[201, 105], [245, 105], [221, 127], [204, 145], [242, 145]], float)
SIZE = 128


def test_a_face_that_lies_like_the_template_is_cut_out_unchanged(astronaut):
    shift = np.array([150.0, 70.0])
    points = template_points(Template.ARCFACE_128, size=SIZE) + shift
    crop = crop_face(astronaut, points, template=Template.ARCFACE_128, size=SIZE)
    assert np.array_equal(crop.pixels, astronaut[70 : 70 + SIZE, 150 : 150 + SIZE])
    assert crop.size == SIZE


def test_the_matrix_brings_the_points_near_the_template():
    matrix = crop_matrix(POINTS, template=Template.ARCFACE_112_V2, size=112)
    reached = apply(matrix, POINTS)
    assert np.hypot(*(reached - template_points(Template.ARCFACE_112_V2, size=112)).T).max() < 7


def test_beyond_the_picture_a_crop_is_black_or_repeats_the_last_pixels(astronaut):
    points = POINTS - [200, 100]  # half of the face is cut off
    picture = astronaut[100:, 200:] // 2 + 100
    black = crop_face(picture, points, template=Template.ARCFACE_128, size=SIZE)
    repeated = crop_face(
        picture, points, template=Template.ARCFACE_128, size=SIZE, border=Border.REPEAT
    )
    assert (black.pixels == 0).all(axis=2).mean() > 0.2
    assert repeated.pixels.min() >= 90
    assert stacked([black, repeated]).shape == (2, SIZE, SIZE, 3)


@pytest.mark.parametrize("points", [np.full((5, 2), 9.0), np.full((5, 2), np.nan)])
def test_points_that_fix_no_position_are_refused(points, astronaut):
    with pytest.raises(UnusableFaceError):
        crop_face(astronaut, points, template=Template.FFHQ_512, size=512)
