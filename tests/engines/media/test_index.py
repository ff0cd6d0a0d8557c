import struct
import subprocess
import sys
import time
from dataclasses import replace
from fractions import Fraction

import pytest

from engines.errors import InvalidInputError
from engines.media.index import index_video, probe_video
from engines.media.limits import MediaLimits
from engines.media.streams import describe
from engines.spec import MediaKind

LIMITS = MediaLimits()


def refusal(path, limits=LIMITS):
    with pytest.raises(InvalidInputError) as caught:
        probe_video(path, limits)
    assert len(caught.value.detail) > 10
    return caught.value.code


def test_a_plain_clip_is_described_in_full(clip):
    path = clip("constant.mp4")
    info = probe_video(path, LIMITS)
    assert info.kind is MediaKind.VIDEO
    assert info.media_type == "video/mp4"
    assert info.bytes == path.stat().st_size
    assert (info.width, info.height, info.frames) == (192, 108, 50)
    assert info.duration_s == pytest.approx(2.0)
    assert info.fps == pytest.approx(25.0)
    assert info.has_audio


def test_every_frame_has_its_tick_although_packets_are_reordered(clip):
    index = index_video(clip("constant.mp4"))
    assert index.time_base == Fraction(1, 12800)
    assert index.pts == tuple(range(0, 50 * 512, 512))


def test_a_variable_rate_keeps_its_gaps(clip):
    index = index_video(clip("variable.mp4"))
    gaps = {b - a for a, b in zip(index.pts, index.pts[1:], strict=False)}
    assert {1200, 3600} <= gaps
    assert index.frames == 30
    assert index.time_base == Fraction(1, 30000)


def test_a_late_start_is_seen(clip):
    index = index_video(clip("late.mp4"))
    assert index.seconds(index.pts[0]) == pytest.approx(0.5, abs=0.05)
    assert index.duration_s == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("name", "degrees", "size"),
    [("turned.mp4", 90, (108, 192)), ("upside_down.mp4", 180, (192, 108))],
)
def test_sizes_are_those_after_rotation(clip, name, degrees, size):
    index = index_video(clip(name))
    assert index.rotation == degrees
    assert (index.width, index.height) == size


def test_colour_depth_and_pixel_shape_are_read(clip):
    deep, tagged = index_video(clip("deep.mp4")), index_video(clip("bt709.mp4"))
    assert (deep.picture.bit_depth, deep.picture.subsampling) == (10, "420")
    assert deep.picture.colour.transfer == "smpte2084"
    assert deep.picture.colour.matrix == "bt2020nc"
    assert tagged.picture.colour.range == "pc"
    assert tagged.picture.colour.primaries == "bt709"
    assert tagged.sample_aspect == Fraction(4, 3)


def test_tracks_and_their_languages_are_read(clip):
    index = index_video(clip("subtitled.mkv"))
    assert [(track.kind, track.codec, track.language) for track in index.tracks] == [
        ("audio", "vorbis", "deu"),
        ("subtitle", "subrip", None),
    ]
    assert index.container.media_type == "video/x-matroska"


@pytest.mark.parametrize(
    ("name", "frames", "media_type"),
    [
        ("broadcast.ts", 50, "video/mp2t"),
        ("camera.mov", 50, "video/quicktime"),
        ("old.avi", 50, "video/x-msvideo"),
        ("hidden.webm", 50, "video/webm"),
        ("fragmented.mp4", 50, "video/mp4"),
        ("odd.webm", 25, "video/webm"),
    ],
)
def test_every_container_gives_the_shown_frames(clip, name, frames, media_type):
    index = index_video(clip(name))
    assert index.exact
    assert index.frames == frames
    assert index.duration_s == pytest.approx(frames / 25, abs=0.03)
    assert index.container.media_type == media_type


def test_a_broadcast_clock_counts_from_the_beginning_of_the_file(clip):
    index = index_video(clip("broadcast.ts"))
    assert 0 <= index.seconds(index.pts[0]) < 0.2


def test_frames_cut_away_by_an_edit_list_do_not_count(clip):
    index = index_video(clip("cut.mp4"))
    assert index.frames in {37, 38}
    assert index.pts[0] >= 0


@pytest.mark.parametrize("name", ["sound_only.mp4", "cover.m4a"])
def test_sound_alone_is_no_video(clip, name):
    assert refusal(clip(name)) == "no_video_stream"


def test_an_empty_file_says_so(tmp_path):
    path = tmp_path / "empty.mp4"
    path.touch()
    assert refusal(path) == "empty_file"


@pytest.mark.parametrize("name", ["fast.mp4", "copy.mkv"])
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_a_file_cut_in_the_middle_is_truncated(clip, tmp_path, name, share):
    whole = clip(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refusal(path) == "video_truncated"


def test_a_broadcast_has_no_end_so_what_is_there_is_all(clip, tmp_path):
    whole = clip("broadcast.ts").read_bytes()
    path = tmp_path / "part.ts"
    path.write_bytes(whole[: len(whole) // 2])
    assert 10 < index_video(path).frames < 50


def test_a_missing_index_at_the_end_is_truncated(clip, tmp_path):
    whole = clip("constant.mp4").read_bytes()
    path = tmp_path / "half.mp4"
    path.write_bytes(whole[: len(whole) // 2])
    assert refusal(path) == "video_truncated"


def test_a_size_that_changes_is_refused(clip, tmp_path):
    path = tmp_path / "grow.ts"
    path.write_bytes(clip("wide.ts").read_bytes() + clip("large.ts").read_bytes())
    assert refusal(path) == "video_size_changes"


def test_protected_tracks_are_named_as_such(clip, tmp_path):
    whole = clip("silent.mp4").read_bytes()
    path = tmp_path / "protected.mp4"
    path.write_bytes(whole.replace(b"avc1", b"encv"))
    assert refusal(path) == "video_encrypted"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"max_video_bytes": 1000}, "file_too_large"),
        ({"max_video_duration_s": 1.9}, "video_too_long"),
        ({"max_video_frames": 49}, "video_too_many_frames"),
        ({"max_video_fps": 24.0}, "video_too_many_fps"),
        ({"max_video_pixels": 192 * 108 - 1}, "video_too_large"),
        ({"max_video_side": 191}, "video_too_large"),
        ({"max_video_streams": 1}, "video_too_many_streams"),
        ({"probe_timeout_s": 0.001}, "media_too_complex"),
    ],
)
def test_each_limit_has_its_own_code(clip, change, code):
    assert refusal(clip("constant.mp4"), replace(LIMITS, **change)) == code


def test_the_limits_themselves_are_allowed(clip):
    exact = replace(
        LIMITS,
        max_video_bytes=clip("constant.mp4").stat().st_size,
        max_video_duration_s=2.0,
        max_video_frames=50,
        max_video_fps=25.0,
        max_video_pixels=192 * 108,
        max_video_side=192,
        max_video_streams=2,
    )
    assert probe_video(clip("constant.mp4"), exact).frames == 50


def test_a_box_that_lies_about_its_size_ends_the_search(tmp_path):
    path = tmp_path / "loop.mp4"
    boxes = struct.pack(">I4s", 16, b"ftyp") + b"isom\0\0\2\0"
    path.write_bytes(boxes + struct.pack(">I4sQ", 1, b"moov", 0) + b"\0" * 64)
    assert refusal(path) in {"media_unreadable", "video_truncated", "no_video_stream"}


def test_a_title_that_looks_like_a_stream_changes_no_size(clip, tmp_path, make):
    path = tmp_path / "liar.mkv"
    lie = "x\n  Stream #0:0: Video: h264, yuv420p, 9999x9999, 1 fps"
    make("-i", str(clip("silent.mp4")), "-c", "copy", "-metadata", f"title={lie}", str(path))
    info = probe_video(path, LIMITS)
    assert (info.width, info.height, info.frames) == (192, 108, 50)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("h264 (High), yuv420p(tv, bt709, progressive), 8x8", ("tv", "bt709", "bt709", "bt709")),
        ("vp9, yuv420p(tv, bt709/unknown/unknown), 8x8", ("tv", "bt709", "unknown", "unknown")),
        ("h264 (High), yuvj420p(pc), 8x8", ("pc", "unknown", "unknown", "unknown")),
        ("h264 (High), yuv420p, 8x8", ("unknown", "unknown", "unknown", "unknown")),
        ("h264, yuv420p(top coded first (swapped)), 8x8", ("unknown",) * 4),
    ],
)
def test_description_lines_are_understood(line, expected):
    picture = describe([f"[info]   Stream #0:0(und): Video: {line}, 25 fps"]).picture
    colour = picture.colour
    assert (colour.range, colour.matrix, colour.primaries, colour.transfer) == expected


REAL = {
    "asl_help.mkv": (58, 640, 480),
    "astro_10bit_hevc.mp4": (50, 480, 480),
    "astro_fragmented.mp4": (92, 480, 480),
    "astro_odd_444.mp4": (50, 481, 479),
    "astro_sync_2997.mp4": (180, 480, 480),
    "astro_sync_60_noaudio.mp4": (180, 480, 480),
    "astro_vfr.mp4": (145, 480, 480),
    "astro_vp9_opus.webm": (100, 480, 480),
    "astro_vstart_500ms.mp4": (107, 480, 480),
    "av1_video.mkv": (125, 640, 360),
    "big_buck_bunny_30s.webm": (720, 1280, 720),
    "nasa_13013.mp4": (325, 320, 180),
    "one_by_one_person.mp4": (1394, 768, 432),
}


@pytest.mark.parametrize("name", REAL)
def test_real_videos_are_counted_right(test_media, name):
    info = probe_video(test_media / "video" / name, LIMITS)
    assert (info.frames, info.width, info.height) == REAL[name]


HOSTILE = {
    "empty.mp4": "empty_file",
    "hls_playlist.mp4": "unsupported_media",
    "txt_as.mp4": "unsupported_media",
    "svg_external.svg": "unsupported_media",
    "animated_faces.gif": "unsupported_media",
    "vips_17000x17000.avif": "unsupported_media",
    "avif_poc_b_506387278.avif": "unsupported_media",
    "mp4_alpha_video_moov_is_moop.avif": "unsupported_media",
    "fps_1000.mp4": "video_too_many_fps",
    "long_1h_black.mp4": "video_too_long",
    "mp4_truncated_no_moov.mp4": "video_truncated",
    "mp4_invalid_userdata.mp4": "video_truncated",
    "mp4_zero_empty_stsc.mp4": "video_truncated",
    "mp4_chunk_out_of_range.mp4": "media_unreadable",
    "mp4_short-cenc.mp4": "video_encrypted",
    "size_change.ts": "video_size_changes",
}
HARMLESS = {
    "moviepy_no_duration.webm": 74,
    "moviepy_video_with_failing_audio.mp4": 280,
    "mp4_bitflips.mp4": 92,
    "mp4_minimal.mp4": 1,
    "mp4_no_timescale.mp4": 182,
    "mp4_video_colr_nclx_hdr10.mp4": 3,
    "one_frame.mp4": 1,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_videos_get_their_own_code_quickly(test_media, name):
    begun = time.monotonic()
    assert refusal(test_media / "hostile" / name) == HOSTILE[name]
    assert time.monotonic() - begun < 10


@pytest.mark.parametrize("name", HARMLESS)
def test_odd_videos_that_can_be_shown_are_taken(test_media, name):
    assert probe_video(test_media / "hostile" / name, LIMITS).frames == HARMLESS[name]


PROBE_ALL = """
import resource, sys
from pathlib import Path
from engines.errors import InvalidInputError
from engines.media.index import probe_video
from engines.media.limits import MediaLimits

for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        probe_video(path, MediaLimits())
    except InvalidInputError:
        continue
    print(path.name)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


def test_no_hostile_file_of_any_kind_does_harm(test_media):
    # In a process of its own: the largest child of this one may be another test's.
    probed = subprocess.run(
        [sys.executable, "-c", PROBE_ALL, str(test_media / "hostile")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(probed.stdout.split("\n")) - {""} <= set(HARMLESS)
    largest_child_kib = int(probed.stderr.split()[-1])
    assert largest_child_kib < 600 * 1024
