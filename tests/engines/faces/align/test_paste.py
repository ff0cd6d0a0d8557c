import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.faces.align.box_mask import box_mask
from engines.faces.align.crop import crop_face, cut
from engines.faces.align.paste import crop_region, paste
from engines.faces.align.templates import Template
from engines.faces.geometry import UnusableFaceError

POINTS = np.array([[201, 105], [245, 105], [221, 127], [204, 145], [242, 145]], float)
IDENTITY = np.eye(2, 3)


def noise(height: int, width: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def test_a_crop_laid_back_unchanged_changes_nothing_visible(astronaut):
    crop = crop_face(astronaut, POINTS, template=Template.FFHQ_512, size=512)
    picture = astronaut.copy()
    region = paste(picture, crop, crop.matrix, box_mask(512))
    x1, y1, x2, y2 = region
    outside = np.ones(picture.shape[:2], bool)
    outside[y1:y2, x1:x2] = False
    assert np.array_equal(picture[outside], astronaut[outside])
    assert np.abs(picture.astype(int) - astronaut).mean() < 0.3  # enlarged and reduced again


def test_in_its_own_pixels_the_new_face_arrives_exactly_and_is_rounded_not_cut():
    picture, new = noise(60, 80), noise(32, 32, seed=6).astype(np.float32) * 0.5 + 0.6
    matrix = IDENTITY - np.array([[0, 0, 20], [0, 0, 10]])
    before = picture.copy()
    assert paste(picture, new, matrix, np.ones((32, 32), np.float32)) == (20, 10, 53, 43)
    assert np.array_equal(picture[10:42, 20:52], np.rint(new).astype(np.uint8))
    picture[10:42, 20:52] = before[10:42, 20:52]
    assert np.array_equal(picture, before)


def test_blend_is_the_share_of_the_new_face():
    picture, new = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 201.0, np.float32)
    paste(picture, new, IDENTITY, np.ones((32, 32), np.float32), blend=0.25)
    assert (picture == 125).all()


def test_a_mask_of_nothing_keeps_every_byte():
    picture = noise(60, 80)
    before = picture.copy()
    paste(picture, noise(32, 32), IDENTITY, np.zeros((32, 32), np.float32))
    assert np.array_equal(picture, before)


def test_a_face_outside_the_picture_is_none_of_it():
    picture = noise(40, 40)
    away = IDENTITY + np.array([[0, 0, 500], [0, 0, 0]])
    assert paste(picture, noise(32, 32), away, np.ones((32, 32), np.float32)) is None


def test_a_large_crop_on_a_small_face_is_averaged_and_not_skipped():
    fine = np.zeros((512, 512, 3), np.uint8)
    fine[::2] = 255  # lines that bilinear sampling would hit or miss
    picture = np.full((60, 60, 3), 30, np.uint8)
    tenth = cut(fine, np.eye(2, 3) * 10, size=512).matrix
    paste(picture, fine, tenth, np.ones((512, 512), np.float32))
    inner = picture[5:45, 5:45].astype(int)
    assert abs(inner.mean() - 127.5) < 2
    assert inner.std() < 2


def test_a_flat_matrix_and_a_foreign_mask_are_refused():
    with pytest.raises(UnusableFaceError):
        paste(noise(9, 9), noise(8, 8), np.zeros((2, 3)), np.ones((8, 8), np.float32))
    with pytest.raises(ValueError, match="does not lie over"):
        paste(noise(9, 9), noise(8, 8), IDENTITY, np.ones((4, 4), np.float32))


@settings(deadline=None, max_examples=60)
@given(
    scale=st.floats(0.05, 20),
    angle=st.floats(-3.2, 3.2),
    x=st.floats(-200, 200),
    y=st.floats(-200, 200),
)
def test_whatever_the_matrix_only_the_region_changes_and_stays_inside(scale, angle, x, y):
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    matrix = np.array([[cos, -sin, x], [sin, cos, y]])
    picture = noise(50, 70)
    before = picture.copy()
    region = paste(picture, noise(16, 16, seed=9), matrix, np.ones((16, 16), np.float32))
    assert region == crop_region(matrix, size=16, picture=picture)
    if region is None:
        assert np.array_equal(picture, before)
        return
    x1, y1, x2, y2 = region
    assert 0 <= x1 < x2 <= 70
    assert 0 <= y1 < y2 <= 50
    picture[y1:y2, x1:x2] = before[y1:y2, x1:x2]
    assert np.array_equal(picture, before)
