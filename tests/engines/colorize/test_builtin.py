import numpy as np
import pytest

from engines.colorize.builtin import paint
from engines.colorize.chroma import lightness, unit
from engines.faces.face import Face

FACE = Face(
    box=(179, 63, 270, 174),
    points=np.array([[201, 105], [245, 105], [221, 127], [204, 145], [242, 145]], float),
    score=0.9,
)


def test_an_open_sky_is_blue_and_a_lawn_warm(camera):
    colour = paint(lightness(unit(camera[..., None])), [])
    assert colour[20:120, 320:500, 1].mean() < -10
    assert colour[420:500, 60:400, 1].mean() > 4


def test_a_face_gets_skin_and_the_picture_around_it_does_not(astronaut):
    light = lightness(unit(astronaut))
    colour, without = paint(light, [FACE]), paint(light, [])
    cheek = np.s_[125:140, 195:210]
    assert (colour[cheek][..., 0] > 6).all()
    assert without[cheek][..., 0].mean() < colour[cheek][..., 0].mean() - 3
    changed = np.abs(colour - without).max(axis=2)
    assert changed[:40].mean() < 1.0


@pytest.mark.parametrize("level", [0, 50, 100])
def test_a_flat_picture_stays_muted(level):
    colour = paint(np.full((64, 96), level, np.float32), [])
    assert np.isfinite(colour).all()
    assert np.abs(colour).max() < 34


def test_colours_are_muted_everywhere(astronaut, camera):
    for pixels in (astronaut, np.repeat(camera[..., None], 3, axis=2)):
        strength = np.hypot(*np.moveaxis(paint(lightness(pixels), []), -1, 0))
        assert np.percentile(strength, 99) < 36
        assert strength.mean() < 22


def test_a_face_outside_or_on_the_rim_is_no_trouble(astronaut):
    light = lightness(unit(astronaut))
    for shift in (-220, 300, 5000):
        points = FACE.points + shift
        box = tuple(value + shift for value in FACE.box)
        assert np.isfinite(paint(light, [Face(box, points, 0.9)])).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (3, 5)])
def test_specks_and_lines_are_painted_too(shape):
    colour = paint(np.full(shape, 70, np.float32), [FACE])
    assert colour.shape == (*shape, 2)
