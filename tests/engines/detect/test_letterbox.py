import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.detect.letterbox import PAD_GREY, fit_centred, fit_corner, lay_out

sides = st.integers(1, 5000)
canvases = st.tuples(st.integers(1, 128), st.integers(1, 128)).map(
    lambda strides: (strides[0] * 32, strides[1] * 32)
)


@pytest.mark.parametrize(
    ("picture", "canvas", "scaled", "top", "left"),
    [
        ((1080, 810), (640, 640), (640, 480), 0, 80),
        ((720, 1280), (640, 640), (360, 640), 140, 0),
        ((100, 100), (640, 640), (640, 640), 0, 0),  # scaled up
        ((427, 640), (640, 640), (427, 640), 106, 0),  # odd padding: the far side gets more
        ((1, 5000), (640, 640), (1, 640), 319, 0),  # never thinner than a pixel
        ((480, 640), (384, 640), (384, 512), 0, 64),
    ],
)
def test_centred_fits(picture, canvas, scaled, top, left):
    fit = fit_centred(picture, canvas)
    assert (fit.scaled, fit.top, fit.left) == (scaled, top, left)


@given(height=sides, width=sides, canvas=canvases)
def test_a_fit_lies_on_the_canvas_and_the_whole_picture_comes_back(height, width, canvas):
    for fit in (fit_centred((height, width), canvas), fit_corner((height, width), canvas)):
        assert 0 <= fit.top <= fit.top + fit.scaled[0] <= canvas[0]
        assert 0 <= fit.left <= fit.left + fit.scaled[1] <= canvas[1]
        whole = np.array(
            [[fit.left, fit.top, fit.left + fit.scaled[1], fit.top + fit.scaled[0]]],
            dtype=np.float32,
        )
        assert np.allclose(fit.to_picture(whole), [[0, 0, width, height]], rtol=1e-5)


def test_boxes_beyond_the_picture_are_clipped():
    fit = fit_centred((720, 1280), (640, 640))
    boxes = np.array([[-50, -50, 700, 700]], dtype=np.float32)
    assert fit.to_picture(boxes).tolist() == [[0, 0, 1280, 720]]


def test_the_canvas_is_grey_around_the_picture():
    white = np.full((50, 100, 3), 255, dtype=np.uint8)
    canvas = lay_out(white, fit_centred((50, 100), (64, 64)))
    assert canvas.shape == (64, 64, 3)
    assert (canvas[:16] == PAD_GREY).all()
    assert (canvas[16:48] == 255).all()
    assert (canvas[48:] == PAD_GREY).all()


def test_a_picture_of_the_right_size_is_not_resampled():
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(lay_out(noise, fit_centred((64, 64), (64, 64))), noise)
