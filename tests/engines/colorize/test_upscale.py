import numpy as np
import pytest

from engines.colorize import upscale
from engines.colorize.upscale import enlarge, enlarged
from engines.media.rows import ArrayRows


@pytest.mark.parametrize("factor", [2, 4])
def test_an_enlarged_picture_is_the_same_picture(factor, astronaut):
    large = enlarge(astronaut[:101, :77], factor)
    assert large.shape == (101 * factor, 77 * factor, 3)
    back = large.reshape(101, factor, 77, factor, 3).mean(axis=(1, 3))
    assert np.abs(back - astronaut[:101, :77]).mean() < 3


def test_strips_do_not_show(astronaut, tmp_path, monkeypatch):
    monkeypatch.setattr(upscale, "_STRIP_PIXELS", 77 * 16)
    rows = ArrayRows(np.ascontiguousarray(astronaut[:101, :77]))
    large, alpha = enlarged(rows, None, 2, tmp_path, pause=lambda: None)
    assert alpha is None
    assert (large.read(0, 202) == enlarge(astronaut[:101, :77], 2)).all()


def test_transparency_and_16_bits_are_enlarged_too():
    assert enlarge(np.zeros((5, 7, 1), np.uint8), 2).shape == (10, 14, 1)
    assert enlarge(np.full((5, 7, 3), 60_000, np.uint16), 2).max() == 60_000
