from fractions import Fraction

import numpy as np
import pytest

from engines.media.index import index_video
from engines.media.nut import RawPictures, checksum, number
from engines.media.video import read_frames


def stream(pictures, frames):
    """The bytes of a whole stream; ``frames`` are (pts in ticks, picture)."""
    parts = [pictures.frame_header(pts) + pixels.tobytes() for pts, pixels in frames]
    return pictures.header() + b"".join(parts)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [(0, b"\0"), (127, b"\x7f"), (128, b"\x81\0"), (1 << 14, b"\x81\x80\0")],
)
def test_numbers_are_groups_of_seven_bits(value, encoded):
    assert number(value) == encoded


def test_the_checksum_is_the_one_of_the_format():
    assert checksum(b"") == b"\0\0\0\0"
    # CRC-32 with polynomial 04C11DB7, no reflection, start 0, no final inversion.
    assert checksum(b"123456789") == bytes.fromhex("89a1897f")


@pytest.mark.parametrize("base", [Fraction(1, 30000), Fraction(1001, 30000), Fraction(1, 90000)])
def test_ffmpeg_reads_every_timestamp_back(tmp_path, make, base):
    times = [0, 1, 5, 100, 12345, 10**9]
    frames = [(pts, np.full((4, 6, 3), 10 * place, np.uint8)) for place, pts in enumerate(times)]
    path = tmp_path / "raw.nut"
    path.write_bytes(stream(RawPictures(6, 4, base, Fraction(4, 3)), frames))
    table = make("-copyts", "-f", "nut", "-i", str(path), "-c", "copy", "-f", "framecrc", "-")
    lines = table.decode().splitlines()
    assert f"#tb 0: {base.numerator}/{base.denominator}" in lines
    assert "#dimensions 0: 6x4" in lines
    assert "#sar 0: 4/3" in lines
    read = [int(line.split(",")[2]) for line in lines if not line.startswith("#")]
    assert read == times


def test_a_negative_time_cannot_be_written():
    with pytest.raises(ValueError, match="negative"):
        RawPictures(2, 2, Fraction(1, 25)).frame_header(-1)


def test_pixels_come_through_unchanged(tmp_path, make):
    random = np.random.default_rng(5)
    pictures = [random.integers(0, 256, (16, 16, 3), dtype=np.uint8) for _ in range(3)]
    raw, path = tmp_path / "raw.nut", tmp_path / "lossless.mkv"
    frames = ((40 * place, picture) for place, picture in enumerate(pictures))
    raw.write_bytes(stream(RawPictures(16, 16, Fraction(1, 1000)), frames))
    make("-f", "nut", "-i", str(raw), "-c:v", "ffv1", "-pix_fmt", "bgr0", str(path))
    for frame, picture in zip(read_frames(path, index_video(path)), pictures, strict=True):
        assert np.array_equal(frame.pixels, picture)
