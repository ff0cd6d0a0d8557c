import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial

import numpy as np
import psutil
import pytest

from engines.errors import CanceledError, EngineFaultError, ExhaustedError, InvalidInputError
from engines.media import video
from engines.media.containers import MP4
from engines.media.encoding import Encoding, output_container, output_suffix
from engines.media.index import index_video
from engines.media.verify import verify_copy
from engines.media.video import read_frames, scan_video, transform_video

FAST = Encoding(preset="ultrafast")


@dataclass
class Watcher:
    """A run context that remembers, and cancels after some checkpoints."""

    cancel_after: int | None = None
    checkpoints: int = 0
    seen: list[tuple[int, int, str]] = field(default_factory=list)

    def progress(self, done, total, unit):
        self.seen.append((done, total, unit))

    def checkpoint(self):
        self.checkpoints += 1
        if self.cancel_after is not None and self.checkpoints > self.cancel_after:
            raise CanceledError("stopped by a test")


def untouched(frames):
    return [frame.pixels for frame in frames]


def transform(path, folder, *, process=untouched, batch=8, context=None, encoding=FAST):
    index = index_video(path)
    result = folder / f"result{output_suffix(index)}"
    work = transform_video(
        path,
        result,
        index=index,
        process=process,
        batch=batch,
        context=context or Watcher(),
        encoding=encoding,
    )
    return index, work, result


def seconds(index):
    return [pts * index.time_base for pts in index.pts]


def same_times(before, after):
    """Every frame at its time: exactly, or to the tick where the containers' clocks differ."""
    tick = Fraction(0) if before.time_base == after.time_base else after.time_base
    pairs = zip(seconds(before), seconds(after), strict=True)
    return all(abs(a - b) <= tick for a, b in pairs)


def limited(colour):
    """Unsaid means limited: the two are one for every player."""
    return "pc" if colour.range == "pc" else "tv"


def assert_faithful(before, after):
    assert same_times(before, after)
    tick = max(before.time_base, after.time_base)
    assert abs(before.duration_s - after.duration_s) <= float(tick)
    assert (before.width, before.height) == (after.width, after.height)
    assert before.sample_aspect == after.sample_aspect
    assert after.rotation == 0
    assert limited(before.picture.colour) == limited(after.picture.colour)
    for part in ("matrix", "primaries", "transfer"):
        assert getattr(before.picture.colour, part) == getattr(after.picture.colour, part)


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


def nothing_left(folder):
    children = [
        child
        for child in psutil.Process().children(recursive=True)
        if "ffmpeg" in child.name() and child.status() != psutil.STATUS_ZOMBIE
    ]
    threads = [thread.name for thread in threading.enumerate() if "video" in thread.name]
    return not children and not threads and not list(folder.iterdir())


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
    check = partial(verify_copy, path, index=index, pts=index.pts, context=Watcher())
    check(path, MP4)
    with pytest.raises(EngineFaultError) as caught:
        check(wrong, MP4)
    assert caught.value.code == "video_verify_failed"


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


REAL = [
    "asl_help.mkv",
    "astro_10bit_hevc.mp4",
    "astro_fragmented.mp4",
    "astro_odd_444.mp4",
    "astro_sar43.mp4",
    "astro_sync_23976.mkv",
    "astro_sync_2997.mp4",
    "astro_sync_60_noaudio.mp4",
    "astro_vfr.mp4",
    "astro_vp9_opus.webm",
    "astro_vstart_500ms.mp4",
    "av1_video.mkv",
    "bt709_full_range.mp4",
    "cuts_two_identities.mp4",
    "h265_10bits.mp4",
    "nasa_13013.mp4",
    "smpte_2997.mp4",
    "two_faces_headpose.mp4",
    "two_walking.mp4",
]


@pytest.mark.parametrize("name", REAL)
def test_real_videos_come_out_frame_for_frame(test_media, tmp_path, packets, name):
    path = test_media / "video" / name
    before, work, result = transform(path, tmp_path)
    assert work.frames == before.frames
    assert_faithful(before, index_video(result))
    if before.has_audio:
        assert packets(path, "a") == packets(result, "a")


@pytest.mark.parametrize(
    ("name", "frames"),
    [
        ("moviepy_no_duration.webm", 74),
        ("moviepy_video_with_failing_audio.mp4", 280),
        ("mp4_bitflips.mp4", 91),
        ("mp4_minimal.mp4", 1),
        ("mp4_video_colr_nclx_hdr10.mp4", 3),
        ("one_frame.mp4", 1),
    ],
)
def test_odd_videos_are_transformed_all_the_same(test_media, tmp_path, name, frames):
    _, work, result = transform(test_media / "hostile" / name, tmp_path)
    assert work.frames == frames
    assert index_video(result).frames == frames


def test_damage_is_counted(test_media, tmp_path):
    _, work, _ = transform(test_media / "hostile" / "mp4_bitflips.mp4", tmp_path)
    assert work.frames_lost == 1


def test_garbage_in_a_good_container_is_refused(test_media, tmp_path):
    with pytest.raises(InvalidInputError):
        transform(test_media / "hostile" / "mp4_no_timescale.mp4", tmp_path)
    assert nothing_left(tmp_path)
