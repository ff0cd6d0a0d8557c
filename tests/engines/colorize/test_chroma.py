import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.colorize.chroma import guided_filter, guided_lines, join, lightness, to_pixels


@settings(max_examples=60, deadline=None)
@given(light=st.floats(0, 100), a=st.floats(-120, 120), b=st.floats(-120, 120))
def test_no_colour_however_wild_moves_the_light(light, a, b):
    wanted = np.full((2, 2), light, np.float32)
    colour = np.full((2, 2, 2), (a, b), np.float32)
    assert np.abs(lightness(to_pixels(wanted, colour)) - wanted).max() < 0.5


def test_a_colour_that_exists_is_kept():
    light = np.full((4, 4), 60, np.float32)
    colour = np.full((4, 4, 2), (12, 18), np.float32)
    lab = cv2.cvtColor(to_pixels(light, colour).astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    assert np.allclose(lab[..., 1:], colour, atol=1.0)


def test_the_lightness_of_grey_is_that_of_its_luminance():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    light = lightness(ramp)
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


def test_small_colour_follows_the_edges_of_the_large_picture():
    large = np.full((400, 600, 3), 60, np.uint8)
    large[:, 301:] = 190
    small = cv2.resize(large, (60, 40), interpolation=cv2.INTER_AREA)
    light = lightness(small)
    colour = np.where((light > 50)[..., None], (0, -15), (6, 12)).astype(np.float32)
    out = join(large, guided_lines(light, colour))
    lab = cv2.cvtColor(out.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    assert lab[200, 297, 2] > 6
    assert lab[200, 304, 2] < -6
    assert np.abs(lightness(out) - lightness(large)).max() < 0.5


def test_strips_do_not_show():
    rows = np.linspace(30, 220, 700).astype(np.uint8)
    tall = np.repeat(np.repeat(rows[:, None, None], 40, axis=1), 3, axis=2)
    light = lightness(cv2.resize(tall, (40, 175), interpolation=cv2.INTER_AREA))
    colour = np.dstack([light * 0 + 4, light / 6]).astype(np.float32)
    out = join(tall, guided_lines(light, colour)).astype(int)
    assert np.abs(np.diff(out, axis=0)).max() <= 4
