from fractions import Fraction

import numpy as np
import pytest

from engines.media.index import index_video
from engines.media.nut import RawPictures, checksum, number, write_all
from engines.media.video import read_frames


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
    pictures = RawPictures(6, 4, base, Fraction(4, 3))
    path.write_bytes(b"".join(write_all(pictures, ((pts, p.tobytes()) for pts, p in frames))))
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
    stream = RawPictures(16, 16, Fraction(1, 1000))
    frames = ((40 * place, picture.tobytes()) for place, picture in enumerate(pictures))
    raw.write_bytes(b"".join(write_all(stream, frames)))
    make("-f", "nut", "-i", str(raw), "-c:v", "ffv1", "-pix_fmt", "bgr0", str(path))
    for frame, picture in zip(read_frames(path, index_video(path)), pictures, strict=True):
        assert np.array_equal(frame.pixels, picture)
