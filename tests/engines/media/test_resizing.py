"""Pictures brought to an exact size: no row too many, only the middle where cropped."""

import numpy as np
import pytest

from engines.media.resizing import Filter, Fit, Sizing, middle, resized
from engines.media.rows import ArrayRows


@pytest.mark.parametrize("manner", list(Filter))
@pytest.mark.parametrize("size", [(1, 1), (7, 13), (61, 43), (200, 301), (97, 3)])
@pytest.mark.parametrize(("channels", "depth"), [(1, np.uint8), (3, np.uint8), (3, np.uint16)])
def test_the_size_is_the_one_that_was_asked_for(manner, size, channels, depth, tmp_path):
    top = np.iinfo(depth).max
    rows = ArrayRows(np.full((61, 43, channels), top // 3, depth))
    made = resized(rows, Sizing(*size, filter=manner), tmp_path / "a.raw")
    assert (made.height, made.width, made.channels, made.dtype) == (*size, channels, depth)
    assert np.abs(made.read(0, size[0]).astype(int) - top // 3).max() <= 1 + top // 1000


def test_channels_stay_where_they_are_and_the_picture_the_same(astronaut, tmp_path):
    rows = ArrayRows(np.ascontiguousarray(astronaut))
    small = resized(rows, Sizing(128, 128), tmp_path / "a.raw").read(0, 128)
    mean = astronaut.reshape(128, 4, 128, 4, 3).mean(axis=(1, 3))
    assert np.abs(small - mean).mean() < 4


def test_a_crop_keeps_the_middle_undistorted(tmp_path):
    pixels = np.zeros((40, 100, 1), np.uint8)
    pixels[:, 30:70] = 200
    made = resized(ArrayRows(pixels), Sizing(20, 20, Fit.CROP, Filter.NEAREST), tmp_path / "a.raw")
    assert (made.read(0, 20) == 200).all()


@pytest.mark.parametrize(
    ("picture", "size", "kept"),
    [
        ((100, 40), (20, 20), (30, 0, 40, 40)),
        ((40, 100), (20, 20), (0, 30, 40, 40)),
        ((30_000, 2), (9, 3), (14_997, 0, 6, 2)),
        ((5, 5), (1, 4000), (2, 0, 1, 5)),
    ],
)
def test_the_middle_has_the_ratio_of_the_result(picture, size, kept):
    assert middle(*picture, Sizing(width=size[0], height=size[1], fit=Fit.CROP)) == kept
