import hashlib

import cv2
import numpy as np
import pytest

from engines.media.index import index_video
from engines.media.planes import Conversion, in_planes
from engines.media.streams import Colour, Picture
from engines.media.video import read_frames
from tests.engines.media.parts import EXACT, whole

# Kr and Kb as the standards print them.
PRINTED = {
    "bt709": (0.2126, 0.0722),
    "smpte170m": (0.299, 0.114),
    "unknown": (0.299, 0.114),
    "bt2020nc": (0.2627, 0.0593),
    "smpte240m": (0.212, 0.087),
    "fcc": (0.30, 0.11),
}
EVERY = [(matrix, full) for matrix in PRINTED for full in (False, True)]


def exact_bgr(planes, matrix, full):
    """What the standard says, in float, chroma repeated."""
    red, blue = PRINTED[matrix]
    height, width = len(planes) * 2 // 3, planes.shape[1]
    u, v = (
        half.repeat(2, 0).repeat(2, 1).astype(float) - 128
        for half in planes[height:].reshape(2, height // 2, width // 2)
    )
    y = planes[:height].astype(float)
    if not full:
        y, u, v = (y - 16) * 255 / 219, u * 255 / 224, v * 255 / 224
    b, r = y + 2 * (1 - blue) * u, y + 2 * (1 - red) * v
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.dstack([b, g, r]), 0, 255)


@pytest.fixture(scope="module")
def random_planes():
    return np.random.default_rng(5).integers(0, 256, (96 * 3 // 2, 128), np.uint8)


@pytest.fixture(scope="module")
def photograph(astronaut):
    return cv2.resize(astronaut, (256, 192))


@pytest.mark.parametrize(("matrix", "full"), EVERY)
def test_every_pixel_is_the_standards_within_a_step(random_planes, matrix, full):
    made = Conversion(matrix, full).bgr(random_planes)
    difference = np.abs(made.astype(float) - exact_bgr(random_planes, matrix, full))
    assert difference.max() <= 1.25
    assert difference.mean() < 0.35


@pytest.mark.parametrize(("matrix", "full"), EVERY)
def test_planes_come_back_from_bgr_as_they_were(photograph, matrix, full):
    conversion = Conversion(matrix, full)
    planes = conversion.planes(photograph)
    again = conversion.planes(conversion.bgr(planes))
    difference = np.abs(planes.astype(int) - again)
    assert difference.max() <= 12  # where chroma that is shared left what BGR holds
    assert (difference > 1).mean() < 0.005
    assert difference.mean() < 0.12


@pytest.mark.parametrize("level", [0, 16, 128, 235, 255])
@pytest.mark.parametrize("full", [False, True])
def test_grey_stays_grey(level, full):
    conversion = Conversion("bt709", full)
    grey = np.full((16, 16, 3), level, np.uint8)
    back = conversion.bgr(conversion.planes(grey))
    assert np.abs(back.astype(int) - level).max() <= 1
    assert np.ptp(back.reshape(-1, 3), axis=1).max() == 0


@pytest.mark.parametrize("name", ["constant.mp4", "bt709.mp4", "keyed_turned.mp4"])
def test_bgr_is_what_ffmpegs_accurate_scaler_makes(clip, make, name):
    path = clip(name)
    index = index_video(path)
    assert in_planes(index.picture, index.width, index.height)
    how = "scale=flags=accurate_rnd+full_chroma_int+neighbor,format=bgr24"
    raw = make("-i", str(path), "-vf", how, "-frames:v", "3", "-f", "rawvideo", "-")
    theirs = np.frombuffer(raw, np.uint8).reshape(3, index.height, index.width, 3)
    for ours, their in zip(read_frames(path, index), theirs, strict=False):
        assert np.abs(ours.pixels.astype(int) - their).mean() < 1.0


def test_a_frame_given_back_as_it_is_keeps_every_bit(clip, tmp_path, make):
    def digests(path):
        table = make("-i", str(path), "-map", "0:v", "-f", "framemd5", "-")
        return [line.rsplit(b",", 1)[1] for line in table.splitlines() if line[:1] != b"#"]

    result = whole(clip("bt709.mp4"), tmp_path, encoding=EXACT)
    assert digests(result) == digests(clip("bt709.mp4"))


def test_looking_does_not_change_what_is_stored(clip):
    path = clip("constant.mp4")
    for frame in read_frames(path, index_video(path)):
        before = hashlib.sha256(frame.stored.data).digest()
        assert frame.pixels.shape == (frame.height, frame.width, 3) == (108, 192, 3)
        assert frame.pixels is frame.pixels
        assert hashlib.sha256(frame.stored.data).digest() == before


@pytest.mark.parametrize(
    ("pixel_format", "size", "planes"),
    [
        ("yuv420p", (64, 48), True),
        ("yuvj420p", (64, 48), True),
        ("yuv420p", (63, 48), False),
        ("yuv420p", (64, 47), False),
        ("yuv420p10le", (64, 48), False),
        ("yuv444p", (64, 48), False),
        ("bgr0", (64, 48), False),
    ],
)
def test_only_plain_8_bit_video_of_even_sides_stays_in_planes(pixel_format, size, planes):
    picture = Picture(pixel_format, Colour(), "progressive")
    assert in_planes(picture, *size) is planes
