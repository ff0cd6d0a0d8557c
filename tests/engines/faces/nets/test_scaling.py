import numpy as np
import pytest

from engines.faces.nets.scaling import Colour, Scaling

CROPS = np.random.default_rng(8).integers(0, 256, (2, 6, 5, 3), np.uint8)
SCALINGS = [
    Scaling(Colour.RGB, (10.0, 20.0, 30.0), (128.0, 128.0, 128.0)),
    Scaling(Colour.RGB, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
    Scaling(Colour.BGR, (10.0, 20.0, 30.0), (1.0, 2.0, 4.0)),
]


@pytest.mark.parametrize("crops", [CROPS, CROPS.astype(np.float32) + 0.25], ids=["bytes", "floats"])
@pytest.mark.parametrize("scaling", SCALINGS, ids=["even", "uneven", "bgr"])
def test_each_plane_is_scaled_by_its_own_numbers_in_the_networks_order(scaling, crops):
    planes = crops.transpose(0, 3, 1, 2).astype(float)
    if scaling.colour is Colour.RGB:
        planes = planes[:, ::-1]
    mean, std = (np.array(each).reshape(1, 3, 1, 1) for each in (scaling.mean, scaling.std))
    feed = scaling.feed(crops)
    assert feed.dtype == np.float32
    assert np.allclose(feed, (planes - mean) / std, atol=1e-4)
    assert np.allclose(scaling.pixels(feed), crops, atol=1e-3)


def test_half_precision_networks_are_fed_half_precision():
    assert SCALINGS[0].feed(CROPS, dtype=np.dtype(np.float16)).dtype == np.float16


def test_what_a_network_draws_beyond_the_range_is_cut_to_it():
    drawn = SCALINGS[0].pixels(np.full((1, 3, 2, 2), 9, np.float16))
    assert drawn.dtype == np.float32
    assert drawn.max() == 255
