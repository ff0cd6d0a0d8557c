"""Real and damaged videos, transformed."""

import pytest

from engines.errors import InvalidInputError
from engines.media.index import index_video
from tests.engines.media.transforming import assert_faithful, nothing_left, transform

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
