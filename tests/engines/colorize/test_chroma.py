import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.colorize.chroma import (
    guided_filter,
    lightness,
    to_lit_samples,
    unit,
)


@settings(max_examples=60, deadline=None)
@given(light=st.floats(0, 100), a=st.floats(-120, 120), b=st.floats(-120, 120))
def test_no_colour_however_wild_moves_the_light(light, a, b):
    wanted = np.full((2, 2), light, np.float32)
    colour = np.full((2, 2, 2), (a, b), np.float32)
    assert (
        np.abs(lightness(unit(to_lit_samples(wanted, colour, np.dtype(np.uint8)))) - wanted).max()
        < 0.5
    )


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_a_colour_that_exists_is_kept(depth):
    light = np.full((4, 4), 60, np.float32)
    colour = np.full((4, 4, 2), (12, 18), np.float32)
    lab = cv2.cvtColor(unit(to_lit_samples(light, colour, np.dtype(depth))), cv2.COLOR_BGR2LAB)
    assert np.allclose(lab[..., 1:], colour, atol=1.0)


def test_the_lightness_of_grey_is_that_of_its_luminance():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    light = lightness(unit(ramp))
    assert light[0, 0] == pytest.approx(0, abs=0.01)
    assert light[0, 255] == pytest.approx(100, abs=0.01)
    assert (np.diff(light[0]) > 0).all()


def test_the_guided_filter_keeps_the_edge_of_the_guide():
    light = np.full((60, 80), 20, np.float32)
    light[:, 40:] = 80
    shifted = np.zeros((60, 80), np.float32)
    shifted[:, 43:] = 1  # a map that misses the edge by three pixels
    smooth = guided_filter(light, shifted, radius=6, regularity=1.0)
    steps = np.abs(np.diff(smooth[30]))
    assert steps.argmax() == 39
    assert steps[39] > 0.4
