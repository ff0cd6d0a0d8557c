import cv2
import numpy as np
import pytest
from skimage.color import deltaE_ciede2000

from engines.colorize.chroma import lightness, unit
from engines.colorize.laying import lay
from engines.colorize.params import Chroma
from engines.colorize.spread import Bilinear, Guided, Lined, Nearest
from engines.media.rows import ArrayRows, new_rows
from tests.engines.colorize.reference import nearest

EDGE_LAB = 40.0  # of the gradient of a and b; what the eye calls an edge of colour


def lab_of(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(unit(pixels), cv2.COLOR_BGR2LAB)


def coloured(pixels, colour, manner=Chroma.GUIDED) -> np.ndarray:
    rows = ArrayRows(pixels)
    into = new_rows(None, height=rows.height, width=rows.width, channels=3, dtype=pixels.dtype)
    lay(rows, colour, into, manner=manner, pause=lambda: None)
    return into.read(0, rows.height)


@pytest.mark.parametrize(("height", "width"), [(512, 512), (300, 451), (97, 640), (9, 7)])
def test_nearest_is_what_torch_does(height, width):
    values = np.random.default_rng(1).normal(size=(2, 64, 96)).astype(np.float32)
    small = np.ascontiguousarray(values.transpose(1, 2, 0))
    rows = Nearest(small, height=height, width=width).rows(np.zeros((height, width)), 0)
    assert (rows == nearest(values, height, width).transpose(1, 2, 0)).all()


def test_bilinear_is_what_opencv_does():
    small = np.random.default_rng(2).normal(size=(48, 64, 2)).astype(np.float32)
    whole = cv2.resize(small, (301, 203), interpolation=cv2.INTER_LINEAR)
    spread = Bilinear(small, height=203, width=301)
    parts = [spread.rows(np.zeros((n, 301)), top) for top, n in ((0, 100), (100, 103))]
    assert np.allclose(np.concatenate(parts), whole, atol=1e-5)


@pytest.mark.parametrize("manner", [Guided, Lined])
def test_small_colour_follows_the_edges_of_the_large_picture(manner):
    large = np.full((400, 600, 3), 60, np.uint8)
    large[:, 301:] = 190
    light = lightness(unit(cv2.resize(large, (60, 40), interpolation=cv2.INTER_AREA)))
    share = np.clip((light - light.min()) / np.ptp(light), 0, 1)[..., None]
    colour = ((1 - share) * (6, 12) + share * (0, -15)).astype(np.float32)
    lab = lab_of(coloured(large, manner(light, colour, height=400, width=600)))
    assert lab[200, 297, 2] > 6
    assert lab[200, 304, 2] < -6
    assert np.abs(lab[..., 0] - lab_of(large)[..., 0]).max() < 0.5


def test_strips_do_not_show(monkeypatch):
    from engines.colorize import shrink

    monkeypatch.setattr(shrink, "STRIP_PIXELS", 40 * 64)
    rows = np.linspace(30, 220, 700).astype(np.uint8)
    tall = np.ascontiguousarray(np.broadcast_to(rows[:, None, None], (700, 40, 3)))
    light = lightness(unit(cv2.resize(tall, (40, 175), interpolation=cv2.INTER_AREA)))
    colour = np.dstack([light * 0 + 4, light / 6]).astype(np.float32)
    for manner in (Guided, Lined):
        out = coloured(tall, manner(light, colour, height=700, width=40)).astype(int)
        assert np.abs(np.diff(out, axis=0)).max() <= 4


def edge_errors(pixels: np.ndarray, side: int) -> tuple[float, float]:
    """Mean CIEDE2000 at edges of colour: by the nearest pixel, and guided by light.

    The picture is turned grey and given its own true colour at ``side`` x ``side``.
    """
    lab = lab_of(pixels)
    height, width = pixels.shape[:2]
    small = cv2.resize(lab, (side, side), interpolation=cv2.INTER_AREA)
    light = lightness(cv2.resize(unit(pixels), (side, side), interpolation=cv2.INTER_AREA))
    steps = sum(
        np.hypot(cv2.Sobel(plane, cv2.CV_32F, 1, 0), cv2.Sobel(plane, cv2.CV_32F, 0, 1))
        for plane in (lab[..., 1], lab[..., 2])
    )
    edges = cv2.dilate((steps > EDGE_LAB).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    true = np.ascontiguousarray(small[..., 1:])
    errors = []
    for spread in (
        Nearest(true, height=height, width=width),
        Guided(light, true, height=height, width=width),
    ):
        ours = np.dstack([lab[..., :1], spread.rows(lab[..., 0], 0)])
        errors.append(float(deltaE_ciede2000(lab[edges], ours[edges]).mean()))
    return errors[0], errors[1]


@pytest.mark.parametrize("side", [128, 256])
def test_guided_colour_is_truer_at_edges_than_the_published_blocks(side, astronaut, hopper, cat):
    for pixels in (astronaut, hopper, cat):
        published, guided = edge_errors(pixels, side)
        assert guided < 0.9 * published


def test_guided_colour_is_truer_at_edges_on_every_photograph(test_media):
    compared = 0
    for path in sorted([*(test_media / "scenes").iterdir(), *(test_media / "faces").iterdir()]):
        pixels = cv2.imread(str(path))
        is_grey = np.abs(lab_of(pixels)[..., 1:]).mean() < 1
        for side in (128, 256):
            if is_grey or min(pixels.shape[:2]) <= side:
                continue
            published, guided = edge_errors(pixels, side)
            print(f"{path.name} at {side}: nearest {published:.3f}, guided {guided:.3f}")
            assert guided < published, path.name
            compared += 1
    assert compared >= 15
