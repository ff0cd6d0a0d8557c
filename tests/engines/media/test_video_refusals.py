"""What ends a transformation, and that it leaves no file, process or thread."""

import time
from functools import partial

import numpy as np
import psutil
import pytest

from engines.errors import CanceledError, EngineFaultError, ExhaustedError, InvalidInputError
from engines.media.containers import MP4
from engines.media.encoding import Encoding
from engines.media.index import index_video
from engines.media.verify import SourceSound, verify_copy
from engines.media.video import read_frames, transform_video
from tests.engines.media.transforming import Watcher, nothing_left, transform, untouched


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_cancelled_run_stops_at_once_and_leaves_nothing(clip, tmp_path, after):
    begun = time.monotonic()
    with pytest.raises(CanceledError):
        transform(clip("minute.mp4"), tmp_path, context=Watcher(cancel_after=after))
    assert time.monotonic() - begun < 5
    assert nothing_left(tmp_path)


def test_a_cancel_is_seen_while_the_encoder_is_busy(clip, tmp_path):
    watcher = Watcher(cancel_after=4)
    slow = Encoding(preset="placebo", threads=1)
    begun = time.monotonic()
    with pytest.raises(CanceledError):
        transform(clip("minute.mp4"), tmp_path, context=watcher, batch=64, encoding=slow)
    assert time.monotonic() - begun < 10
    assert nothing_left(tmp_path)


def test_an_engine_that_raises_is_heard_and_leaves_nothing(clip, tmp_path):
    def broken(frames):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        transform(clip("minute.mp4"), tmp_path, process=broken)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    "process",
    [
        lambda frames: [],
        lambda frames: [frame.pixels[:-1] for frame in frames],
        lambda frames: [frame.pixels.astype(np.float32) for frame in frames],
        lambda frames: [frame.pixels for frame in frames] * 2,
    ],
)
def test_an_engine_must_return_one_picture_per_frame(clip, tmp_path, process):
    with pytest.raises(EngineFaultError) as caught:
        transform(clip("constant.mp4"), tmp_path, process=process)
    assert caught.value.code == "frames_mismatch"
    assert nothing_left(tmp_path)


def test_a_folder_that_cannot_be_written_is_our_fault(clip, tmp_path):
    path = clip("constant.mp4")
    with pytest.raises(EngineFaultError) as caught:
        transform_video(
            path,
            tmp_path / "missing" / "result.mp4",
            index=index_video(path),
            process=untouched,
            batch=8,
            context=Watcher(),
        )
    assert caught.value.code == "video_encode_failed"


def test_a_killed_encoder_ends_the_run(clip, tmp_path):
    def process(frames):
        if frames[0].index == 80:
            encoders = [child for child in psutil.Process().children() if "nut" in child.cmdline()]
            assert len(encoders) == 1
            encoders[0].kill()
        return untouched(frames)

    with pytest.raises(ExhaustedError) as caught:
        transform(clip("minute.mp4"), tmp_path, process=process)
    assert caught.value.retryable
    assert nothing_left(tmp_path)


def test_reading_may_stop_early(clip):
    frames = read_frames(clip("minute.mp4"), index_video(clip("minute.mp4")))
    assert next(frames).index == 0
    frames.close()
    assert not [child for child in psutil.Process().children() if "ffmpeg" in child.name()]


def test_a_change_between_sizes_of_equal_area_is_refused(clip, tmp_path):
    path = tmp_path / "swap.ts"
    path.write_bytes(clip("wide.ts").read_bytes() + clip("tall.ts").read_bytes())
    with pytest.raises(InvalidInputError) as caught:
        transform(path, tmp_path)
    assert caught.value.code == "video_size_changes"


def test_a_file_with_too_many_broken_frames_is_refused(clip, tmp_path):
    path = tmp_path / "noise.mp4"
    whole = bytearray(clip("constant.mp4").read_bytes())
    begin = whole.index(b"mdat") + 12000
    noise = np.random.default_rng(1).integers(0, 256, 30000, dtype=np.uint8).tobytes()
    end = min(begin + len(noise), whole.index(b"moov"))
    whole[begin:end] = noise[: end - begin]
    path.write_bytes(whole)
    with pytest.raises(InvalidInputError) as caught:
        transform(path, tmp_path)
    assert caught.value.code in {"video_damaged", "video_timestamps_invalid"}
    assert not (tmp_path / "result.mp4").exists()


@pytest.mark.parametrize("change", ["a frame less", "another time", "other sound"])
def test_a_wrong_result_is_not_let_through(clip, tmp_path, make, change):
    path, wrong = clip("constant.mp4"), tmp_path / "wrong.mp4"
    options = {
        "a frame less": ["-frames:v", "49"],
        "another time": ["-bsf:v", "setts=pts='PTS+3*gt(N,20)':dts='DTS+3*gt(N,20)'"],
        "other sound": ["-bsf:a", "noise=amount=40"],
    }[change]
    make("-i", str(path), "-c", "copy", *options, str(wrong))
    index = index_video(path)
    with SourceSound(path, index) as sound:
        check = partial(verify_copy, index=index, pts=index.pts, sound=sound, context=Watcher())
        check(path, MP4)
        with pytest.raises(EngineFaultError) as caught:
            check(wrong, MP4)
    assert caught.value.code == "video_verify_failed"


def test_a_source_whose_sound_cannot_be_listed_is_not_called_verified(clip, tmp_path):
    index = index_video(clip("constant.mp4"))
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(bytes(1000))
    with SourceSound(noise, index) as sound, pytest.raises(EngineFaultError) as caught:
        sound.told()
    assert caught.value.code == "video_verify_failed"


def test_listing_the_sound_of_a_source_can_be_left_in_its_midst(clip):
    path = clip("constant.mp4")
    with SourceSound(path, index_video(path)) as sound:
        assert sound.tracks == 1
    assert not [child for child in psutil.Process().children() if "ffmpeg" in child.name()]
