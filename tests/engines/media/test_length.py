"""A result is as long as its source, by its own header: what players and file managers show."""

import re
import subprocess
from pathlib import Path

import pytest

from engines.media.encoding import Encoding
from engines.media.ffmpeg import find_ffmpeg
from tests.engines.media.conftest import Clip
from tests.engines.media.parts import joined, parts_of, whole

# Unlike the fastest preset this one shows frames in another order than it stores them.
REORDERED = Encoding()
CLIPS = pytest.mark.parametrize(
    ("name", "seconds"), [("slow.mp4", 1.0), ("slow.webm", 1.0), ("silent.mp4", 2.0)]
)


def header_seconds(path: Path) -> float:
    command = [find_ffmpeg(), "-hide_banner", "-i", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    found = re.search(r"Duration: (\d+):(\d+):([\d.]+)", told)
    assert found is not None, told
    hours, minutes, seconds = (float(part) for part in found.groups())
    return hours * 3600 + minutes * 60 + seconds


@CLIPS
def test_a_result_says_the_length_of_its_source(
    clip: Clip, tmp_path: Path, name: str, seconds: float
) -> None:
    source = clip(name)
    result = whole(source, tmp_path, encoding=REORDERED)
    assert header_seconds(result) == header_seconds(source) == seconds


@CLIPS
def test_so_does_one_that_was_joined(clip: Clip, tmp_path: Path, name: str, seconds: float) -> None:
    source = clip(name)
    parts, _ = parts_of(source, tmp_path, most=2, encoding=REORDERED)
    assert header_seconds(joined(source, parts, tmp_path, encoding=REORDERED)) == seconds
