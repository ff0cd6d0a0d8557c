"""What comes out of a transformed video: every frame at its time, in its colours."""

import subprocess
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest

from engines.media import video
from engines.media.encoding import Encoding, output_container, video_options
from engines.media.ffmpeg import find_ffmpeg
from engines.media.index import index_video
from engines.media.video import read_frames, scan_video, transform_video
from tests.engines.media.transforming import (
    Watcher,
    assert_faithful,
    seconds,
    transform,
    untouched,
)


@pytest.mark.parametrize(
    "name",
    [
        "constant.mp4",
        "silent.mp4",
        "variable.mp4",
        "late.mp4",
        "odd.mp4",
        "odd.webm",
        "deep.mp4",
        "bt709.mp4",
        "subtitled.mkv",
        "turned.mp4",
        "upside_down.mp4",
        "broadcast.ts",
        "camera.mov",
        "old.avi",
        "hidden.webm",
        "fragmented.mp4",
        "cut.mp4",
    ],
)
def test_every_frame_comes_out_once_at_its_tick(clip, tmp_path, packets, name):
    before, work, result = transform(clip(name), tmp_path)
    after = index_video(result)
    assert (work.frames, work.frames_lost) == (before.frames, 0)
    assert work.seconds == before.duration_s
    assert work.container == output_container(before)
    assert_faithful(before, after)
    assert [track.codec for track in before.tracks] == [track.codec for track in after.tracks]
    if before.has_audio and name != "broadcast.ts":
        assert packets(clip(name), "a") == packets(result, "a")


def test_a_variable_rate_does_not_drift_by_a_single_tick(clip, tmp_path):
    before, _, result = transform(clip("variable.mp4"), tmp_path)
    after = index_video(result)
    assert before.time_base == after.time_base
    assert before.pts == after.pts


def test_sound_keeps_its_distance_to_the_picture(clip, tmp_path, make):
    def sound(path):
        table = make("-copyts", "-i", str(path), "-map", "0:a", "-c", "copy", "-f", "framecrc", "-")
        return [line for line in table.decode().splitlines() if not line.startswith("#")]

    before, _, result = transform(clip("late.mp4"), tmp_path)
    assert sound(clip("late.mp4")) == sound(result)
    assert index_video(result).pts[0] == before.pts[0] > 0


def test_rotation_is_in_the_pixels_and_no_longer_in_a_tag(clip, tmp_path):
    index, _, result = transform(clip("turned.mp4"), tmp_path)
    upright = next(read_frames(result, index_video(result))).pixels
    original = next(read_frames(clip("constant.mp4"), index_video(clip("constant.mp4")))).pixels
    turned = np.rot90(original, -1)
    assert upright.shape == turned.shape == (192, 108, 3)
    assert np.abs(upright.astype(int) - turned.astype(int)).mean() < 6
    assert index.rotation == 90


def test_pictures_survive_the_way_through(clip, tmp_path):
    index, _, result = transform(clip("bt709.mp4"), tmp_path, encoding=Encoding(crf=4))
    pairs = zip(
        read_frames(clip("bt709.mp4"), index), read_frames(result, index_video(result)), strict=True
    )
    for before, after in pairs:
        difference = np.abs(before.pixels.astype(int) - after.pixels.astype(int))
        assert difference.mean() < 3


def test_colours_come_out_of_the_decoder_as_bgr(tmp_path, make):
    path = tmp_path / "red.mp4"
    make("-f", "lavfi", "-i", "color=red:s=64x64:d=0.2", "-c:v", "libx264", str(path))
    pixels = next(read_frames(path, index_video(path))).pixels
    blue, green, red = pixels.reshape(-1, 3).mean(axis=0)
    assert red > 245
    assert max(blue, green) < 10


def test_deep_colour_is_reported_as_processed_in_8_bits(clip, tmp_path):
    _, work, _ = transform(clip("deep.mp4"), tmp_path)
    assert work.notes == ("10-bit colour was processed and stored in 8 bits",)


def test_odd_sizes_are_kept_without_subsampling(clip, tmp_path):
    _, work, result = transform(clip("odd.webm"), tmp_path)
    assert (work.width, work.height) == (193, 107)
    assert index_video(result).picture.subsampling == "444"


def test_an_mp4_can_start_playing_before_it_is_loaded(clip, tmp_path):
    _, _, result = transform(clip("constant.mp4"), tmp_path)
    whole = result.read_bytes()
    assert whole.index(b"moov") < whole.index(b"mdat")


def test_places_and_names_are_not_carried_over_but_languages_are(clip, tmp_path, make):
    path = tmp_path / "tagged.mp4"
    tags = ["-metadata", "location=+52.5+013.4/", "-metadata", "title=Anna"]
    audio = ["-metadata:s:a:0", "language=deu"]
    make("-i", str(clip("constant.mp4")), "-c", "copy", *tags, *audio, str(path))
    assert b"Anna" in path.read_bytes()
    _, _, result = transform(path, tmp_path)
    assert b"Anna" not in result.read_bytes()
    assert b"+52.5" not in result.read_bytes()
    assert index_video(result).tracks[0].language == "deu"


def test_the_engine_sees_every_frame_in_order_with_its_time(clip, tmp_path):
    seen, sizes = [], []

    def process(frames):
        sizes.append(len(frames))
        seen.extend((frame.index, frame.pts_s) for frame in frames)
        return untouched(frames)

    index, _, _ = transform(clip("variable.mp4"), tmp_path, process=process, batch=7)
    assert seen == [(place, index.seconds(pts)) for place, pts in enumerate(index.pts)]
    assert sizes == [7, 7, 7, 7, 2]


def test_what_the_engine_returns_is_what_is_written(clip, tmp_path):
    def process(frames):
        return [np.full_like(frame.pixels, 40 + 3 * frame.index) for frame in frames]

    _, _, result = transform(clip("constant.mp4"), tmp_path, process=process, batch=6)
    for frame in read_frames(result, index_video(result)):
        assert abs(frame.pixels.mean() - (40 + 3 * frame.index)) < 2


def test_pictures_may_be_views_of_other_arrays(clip, tmp_path):
    _, work, _ = transform(
        clip("silent.mp4"),
        tmp_path,
        process=lambda frames: [frame.pixels[:, ::-1] for frame in frames],
    )
    assert work.frames == 50


def test_progress_grows_to_the_end(clip, tmp_path):
    watcher = Watcher()
    transform(clip("constant.mp4"), tmp_path, context=watcher, batch=20)
    assert watcher.seen == [(20, 50, "frames"), (40, 50, "frames"), (50, 50, "frames")]


@pytest.mark.parametrize("name", ["constant.mp4", "broadcast.ts"])
def test_a_first_frame_that_cannot_be_decoded_moves_no_other(clip, tmp_path, name):
    path, result = clip(name), tmp_path / "result.mp4"
    index = index_video(path)
    longer = replace(index, pts=(index.pts[0] - index.last_duration, *index.pts))
    work = transform_video(
        path, result, index=longer, process=untouched, batch=8, context=Watcher()
    )
    assert (work.frames, work.frames_lost) == (index.frames, 1)
    assert seconds(index_video(result)) == seconds(index)


@pytest.mark.parametrize("name", ["constant.mp4", "bt709.mp4", "broadcast.ts"])
def test_no_scaler_copies_the_frames_that_go_to_the_encoder_as_they_are(clip, name):
    options = video_options(index_video(clip(name)), Encoding())
    asked = [text for key, value in options.items() for text in (f"-{key}", str(value))]
    frames = ["-f", "lavfi", "-i", "testsrc=s=192x108:d=1,format=yuv420p"]
    told = subprocess.run(
        [find_ffmpeg(), "-loglevel", "verbose", *frames, *asked, "-f", "null", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "Output #0" in told
    assert "'Parsed_setparams_0' and the filter 'format'" not in told


def test_looking_without_writing_visits_every_frame(clip):
    path, seen = clip("variable.mp4"), []
    index = index_video(path)
    work = scan_video(path, index=index, look=seen.extend, batch=4, context=Watcher())
    assert [frame.pts for frame in seen] == list(index.pts)
    assert (work.frames, work.container) == (index.frames, None)


def test_large_frames_come_in_smaller_batches(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(video, "_BATCH_BYTES", 192 * 108 * 4.5 * 3)
    sizes = []

    def process(frames):
        sizes.append(len(frames))
        return untouched(frames)

    transform(clip("silent.mp4"), tmp_path, process=process, batch=16)
    assert max(sizes) == 3


def tree_peak(path, folder):
    """Return the peak of memory over this run, children included, in bytes."""
    me, peak, stop = psutil.Process(), [0], threading.Event()

    def watch():
        while not stop.is_set():
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    # Between fork and exec a child shares every page of ours: not its own yet.
                    if process == me or process.name() != me.name():
                        total += process.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            peak[0] = max(peak[0], total)
            time.sleep(0.02)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        transform(path, folder)
    finally:
        stop.set()
        watcher.join()
    return peak[0]


def test_memory_does_not_grow_with_the_length(clip, tmp_path, make):
    short = tmp_path / "short.mp4"
    make("-t", "10", "-i", str(clip("minute.mp4")), "-c", "copy", str(short))
    tree_peak(short, tmp_path)  # warm up: libraries, arenas
    growth = tree_peak(clip("minute.mp4"), tmp_path) - tree_peak(short, tmp_path)
    fifty_seconds_of_pixels = 1250 * 320 * 180 * 3
    assert growth < fifty_seconds_of_pixels / 4  # the exact ratio is the bench's, on large frames
