import numpy as np
import pytest

from engines.colorize.upscale import enlarge


@pytest.mark.parametrize("factor", [2, 4])
def test_an_enlarged_picture_is_the_same_picture(factor, astronaut):
    large = enlarge(astronaut[:101, :77], factor)
    assert large.shape == (101 * factor, 77 * factor, 3)
    back = large.reshape(101, factor, 77, factor, 3).mean(axis=(1, 3))
    assert np.abs(back - astronaut[:101, :77]).mean() < 3


def test_one_changes_nothing(astronaut):
    assert enlarge(astronaut, 1) is astronaut


def test_transparency_is_enlarged_as_one_channel():
    assert enlarge(np.zeros((5, 7), np.uint8), 2).shape == (10, 14)
