import cv2
import numpy as np
import pytest

from engines.colorize import shrink as module
from engines.colorize.chroma import unit
from engines.colorize.shrink import Method, shrink
from engines.media.rows import ArrayRows

FLAGS = {Method.BILINEAR: cv2.INTER_LINEAR, Method.AREA: cv2.INTER_AREA}


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize(("height", "width"), [(64, 64), (32, 96), (300, 448), (512, 512)])
def test_in_strips_a_picture_shrinks_as_opencv_shrinks_the_whole(
    method, height, width, hopper, monkeypatch
):
    whole = cv2.resize(unit(hopper), (width, height), interpolation=FLAGS[method])
    monkeypatch.setattr(module, "WHOLE_PIXELS", 1000)
    monkeypatch.setattr(module, "STRIP_PIXELS", hopper.shape[1] * 50)
    strips = shrink(ArrayRows(hopper), height=height, width=width, method=method)
    assert np.abs(strips - whole).max() < 2e-5


def test_grey_and_16_bits_are_read_alike():
    ramp = (np.arange(60 * 80, dtype=np.uint32) * 13 % 65536).astype(np.uint16).reshape(60, 80, 1)
    small = shrink(ArrayRows(ramp), height=32, width=32, method=Method.AREA)
    assert small.shape == (32, 32, 3)
    assert np.ptp(small, axis=2).max() == 0
    assert small.mean() == pytest.approx(ramp.mean() / 65535, abs=0.01)
