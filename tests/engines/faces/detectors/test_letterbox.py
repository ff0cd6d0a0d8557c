import cv2
import numpy as np
import pytest

from engines.faces.detectors.letterbox import fit, lay_out, size_of


@pytest.mark.parametrize("shape", [(480, 1200), (1200, 480), (50, 30), (1, 1), (1, 4000)])
@pytest.mark.parametrize("canvas", [(640, 640), (320, 640)])
def test_a_picture_keeps_its_proportions_and_sits_top_left(shape, canvas):
    pixels = np.full((*shape, 3), 200, np.uint8)
    placed = fit(size_of(pixels), canvas)
    laid = lay_out(pixels, placed, method=cv2.INTER_LINEAR)
    width, height = placed.scaled
    assert laid.shape == (canvas[1], canvas[0], 3)
    assert (laid[:height, :width] == 200).all()
    assert (laid > 0).sum() == 3 * width * height
    assert width == canvas[0] or height == canvas[1]
    across, down = placed.ratios
    assert min(shape) == 1 or across == pytest.approx(down, rel=0.02)
