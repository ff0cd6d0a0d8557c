import cv2
import numpy as np
import pytest

from engines.colorize.chroma import unit
from engines.colorize.tiles import tiles
from engines.colorize.tiny import predict
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner

FLOAT = np.dtype(np.float32)


def warm(feeds):
    grey = feeds["gray"]
    return {"rgb": np.concatenate([grey * 1.0, grey * 0.9, grey * 0.7], axis=1)}


def runner(compute=warm):
    return FakeRunner(
        compute,
        inputs=(TensorSpec("gray", (None, 1, None, None), FLOAT),),
        outputs=(TensorSpec("rgb", (None, 3, None, None), FLOAT),),
    )


def small(pixels, side):
    return unit(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA))


def test_the_network_sees_a_square_of_grey_and_only_its_colour_is_used(astronaut):
    seen = {}

    def look(feeds):
        seen.update(feeds)
        return warm(feeds)

    colour = predict(runner(look), small(astronaut[:300], 128), tile=None)
    assert seen["gray"].shape == (1, 1, 128, 128)
    assert seen["gray"].dtype == FLOAT
    assert 0 <= seen["gray"].min() < seen["gray"].max() <= 1
    assert colour.shape == (128, 128, 2)
    assert (colour[..., 1][seen["gray"][0, 0] > 0.2] > 3).all()


@pytest.mark.parametrize(("size", "tile"), [(512, 128), (512, 160), (256, 224), (544, 512)])
def test_tiles_cover_the_square_and_stay_inside(size, tile):
    covered = np.zeros((size, size), int)
    for y, x, rows, columns in tiles(size, size, tile):
        assert rows == columns == tile
        assert 0 <= y <= size - rows
        assert 0 <= x <= size - columns
        covered[y : y + rows, x : x + columns] += 1
    assert covered.min() >= 1


def test_in_tiles_the_answer_of_a_local_network_is_the_same(astronaut):
    whole, tiled = (predict(runner(), small(astronaut, 256), tile=tile) for tile in (None, 128))
    assert np.allclose(whole, tiled, atol=0.05)


def test_the_real_network_makes_skies_blue(model_mirror, camera):
    from engines.runners.ort import open_onnx

    pixels = np.repeat(camera[..., None], 3, axis=2)
    with open_onnx(model_mirror / "tiny_colorizer.onnx", threads=2) as network:
        whole = predict(network, small(pixels, 256), tile=None)
        tiled = predict(network, small(pixels, 256), tile=128)
    sky, lawn = whole[10:60, 160:250, 1].mean(), whole[200:250, 40:200, 1].mean()
    assert sky < -5
    assert lawn > 5
    assert np.abs(whole - tiled).mean() < 6
