"""No GPU here: a stand-in for ffmpeg takes the place of one that has the encoder."""

import os
import sys
from pathlib import Path

import pytest

from engines.media import decode, ffmpeg, hardware
from engines.media.encoding import NVENC, X264, Encoding
from engines.media.ffmpeg import find_ffmpeg
from engines.media.index import index_video
from tests.engines.media.parts import pictures, whole

# Says what it was asked for, then lets software do it; decoding on the device is left out likewise.
STAND_IN = """#!{python}
import os, sys
said = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(" ".join(said) + "\\n")
if "h264_nvenc" in said and {broken}:
    sys.exit("OpenEncodeSessionEx failed: no encode device")
for option in ("-hwaccel", "-hwaccel_output_format", "-rc", "-cq", "-b:v"):
    while option in said:
        del said[said.index(option) : said.index(option) + 2]
said = ["libx264" if each == "h264_nvenc" else each for each in said]
said = ["veryfast" if each == "p4" else each for each in said]
said = [each.replace("hwdownload,", "") for each in said]
os.execv({ffmpeg!r}, [{ffmpeg!r}, *said])
"""


@pytest.fixture
def fresh():
    """Nothing is remembered of this machine, before and after."""
    caches = (hardware.can_encode, hardware.can_decode, ffmpeg.find_ffmpeg)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


@pytest.fixture
def device(tmp_path, monkeypatch, fresh):
    """Make a machine whose ffmpeg seems to use a GPU; return the commands it was given."""

    def make(*, broken: bool):
        log, program = tmp_path / "commands", tmp_path / "bin" / "ffmpeg"
        program.parent.mkdir()
        log.touch()
        real = find_ffmpeg()
        text = STAND_IN.format(python=sys.executable, log=str(log), broken=broken, ffmpeg=real)
        program.write_text(text)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        find_ffmpeg.cache_clear()
        assert find_ffmpeg() == str(program)
        return log

    return make


def commands(log: Path) -> list[str]:
    return log.read_text().splitlines()


def test_this_machine_says_no_once_and_software_is_used(fresh):
    assert not hardware.can_encode("h264_vaapi")  # listed by every build, no device
    assert hardware.can_encode(X264)
    assert hardware.choose_encoder() in {X264, NVENC}


def test_an_encoder_that_is_only_listed_is_not_used(device):
    log = device(broken=True)
    assert hardware.choose_encoder() == X264
    assert hardware.choose_encoder() == X264
    assert len([each for each in commands(log) if "h264_nvenc" in each]) == 1


def test_a_gpu_that_works_encodes_and_decodes_whole_videos(device, clip, tmp_path):
    source = clip("constant.mp4")  # made before the stand-in
    log = device(broken=False)
    assert hardware.choose_encoder() == NVENC
    assert hardware.can_decode()
    trials = len(commands(log))
    encoding = Encoding(encoder=NVENC)
    result = whole(source, tmp_path, encoding=encoding)
    given = commands(log)[trials:]
    assert any("-hwaccel cuda" in each and "rawvideo" in each for each in given)
    assert any("-c:v h264_nvenc" in each and "-cq 18" in each for each in given)
    index = index_video(source)
    assert index_video(result).pts == index.pts
    assert [pts for pts, _ in pictures(result)] == list(index.pts)


@pytest.mark.parametrize("name", ["odd.mp4", "deep.mp4"])
def test_what_the_device_does_not_store_is_done_in_software(device, clip, tmp_path, name):
    source = clip(name)
    log = device(broken=False)
    whole(source, tmp_path, encoding=Encoding(encoder=NVENC))
    assert name == "deep.mp4" or not any("h264_nvenc" in each for each in commands(log))
    assert not any("-hwaccel" in each and name in each for each in commands(log))


def test_processes_on_a_device_may_reserve_addresses(clip, monkeypatch):
    seen = []
    process = decode.Process

    def watched(*args, bounds, **named):
        seen.append(bounds.memory_bytes)
        return process(*args, bounds=bounds, **named)

    monkeypatch.setattr(decode, "Process", watched)
    for there in (False, True):
        monkeypatch.setattr(decode, "can_decode", lambda there=there: there)
        path = clip("constant.mp4")
        with decode.Decoder(path, index_video(path)):
            pass
    assert seen[0] < seen[1]
