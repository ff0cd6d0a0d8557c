"""Bad videos through the whole way, also in parts: a code, and nothing left behind."""

import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import psutil
import pytest

from engines.errors import ExhaustedError, InvalidInputError
from engines.media import encode, segments
from engines.media.encoding import Encoding
from engines.media.ffmpeg import Bounds
from engines.media.index import index_video
from engines.media.segments import join_segments, plan_segments
from engines.media.video import transform_video
from tests.engines.media.parts import EXACT, Nobody, parts_of, untouched, whole

ROOT = Path(__file__).resolve().parents[3]
TAKEN = {  # frames that come out
    "moviepy_no_duration.webm": 74,
    "moviepy_video_with_failing_audio.mp4": 280,
    "mp4_bitflips.mp4": 91,
    "mp4_minimal.mp4": 1,
    "mp4_video_colr_nclx_hdr10.mp4": 3,
    "one_frame.mp4": 1,
}
REFUSED = {
    "empty.mp4": "empty_file",
    "fps_1000.mp4": "video_too_many_fps",
    "hls_playlist.mp4": "unsupported_media",
    "long_1h_black.mp4": "video_too_long",
    "mp4_chunk_out_of_range.mp4": "media_unreadable",
    "mp4_invalid_userdata.mp4": "video_truncated",
    "mp4_no_timescale.mp4": "video_damaged",
    "mp4_short-cenc.mp4": "video_encrypted",
    "mp4_truncated_no_moov.mp4": "video_truncated",
    "mp4_zero_empty_stsc.mp4": "video_truncated",
    "size_change.ts": "video_size_changes",
    "txt_as.mp4": "unsupported_media",
}
# Looks right until it is decoded; its garbage shows in one way or the other.
ALSO = {"mp4_no_timescale.mp4": {"video_timestamps_invalid"}}
PLAYLISTS = {
    "hls": "#EXTM3U\n#EXTINF:10,\nfile://{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile {target}\n",
    "dash": '<?xml version="1.0"?><MPD><BaseURL>{target}</BaseURL></MPD>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
}


def left_of(folder):
    """Files, and programs that still run."""
    running = [
        child.name()
        for child in psutil.Process().children(recursive=True)
        if "ffmpeg" in child.name() and child.status() != psutil.STATUS_ZOMBIE
    ]
    return [path.name for path in folder.iterdir()] + running


def in_parts(source, folder):
    parts, lost = parts_of(source, folder, encoding=Encoding(preset="ultrafast"))
    path = folder / "joined"
    index, encoding = index_video(source), Encoding(preset="ultrafast")
    context = Nobody()
    work = join_segments(
        source, parts, path, index=index, encoding=encoding, context=context, lost=lost
    )
    for part in parts:
        part.unlink()
    path.unlink()
    return work


@pytest.mark.parametrize("name", TAKEN)
def test_odd_videos_come_out_of_parts_with_the_frames_of_one_run(test_media, tmp_path, name):
    assert in_parts(test_media / "hostile" / name, tmp_path).frames == TAKEN[name]
    assert left_of(tmp_path) == []


def part_by_part(source, folder):
    """Do every part, none kept: what is left is of the one that was refused."""
    index = index_video(source)
    for segment in plan_segments(index, frames_per_segment=1, most=8):
        path = folder / f"part{segment.number}.mp4"
        transform_video(
            source,
            path,
            index=index,
            process=untouched,
            batch=8,
            context=Nobody(),
            encoding=EXACT,
            segment=segment,
        )
        path.unlink()


@pytest.mark.parametrize("name", REFUSED)
def test_the_others_are_refused_and_leave_nothing(test_media, tmp_path, name):
    for way in (whole, part_by_part):
        with pytest.raises(InvalidInputError) as caught:
            way(test_media / "hostile" / name, tmp_path)
        assert caught.value.code in {REFUSED[name], *ALSO.get(name, ())}
        assert len(caught.value.detail) > 20
        assert left_of(tmp_path) == []


def test_the_tables_know_every_hostile_video(test_media):
    videos = {".mp4", ".webm", ".ts", ".mkv"}
    hostile = {path.name for path in (test_media / "hostile").iterdir() if path.suffix in videos}
    assert hostile == {*TAKEN, *REFUSED}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_is_no_video_whatever_its_name(clip, tmp_path, kind):
    path = tmp_path / f"{kind}.mp4"
    path.write_text(PLAYLISTS[kind].format(target=clip("silent.mp4")))
    with pytest.raises(InvalidInputError) as caught:
        index_video(path)
    assert caught.value.code == "unsupported_media"


def test_an_archive_is_no_video(clip, tmp_path):
    path = tmp_path / "videos.mp4"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(clip("silent.mp4"), "silent.mp4")
    with pytest.raises(InvalidInputError) as caught:
        index_video(path)
    assert caught.value.code == "unsupported_media"


def full(folder, name):
    """Make a file to which nothing can be written: the kernel answers that the disk is full."""
    path = folder / name
    path.symlink_to("/dev/full")
    return path


@pytest.mark.parametrize("in_part", [False, True])
def test_a_full_disk_says_so_and_may_be_tried_elsewhere(clip, tmp_path, in_part):
    source = clip("keyed.mp4")
    index = index_video(source)
    segment = plan_segments(index, frames_per_segment=8)[1] if in_part else None
    with pytest.raises(ExhaustedError) as caught:
        transform_video(
            source,
            full(tmp_path, "result.mp4"),
            index=index,
            process=untouched,
            batch=8,
            context=Nobody(),
            encoding=EXACT,
            segment=segment,
        )
    assert (caught.value.code, caught.value.retryable) == ("disk_full", True)
    assert left_of(tmp_path) == []


def test_a_disk_that_is_full_when_parts_are_joined_says_so(clip, tmp_path):
    source = clip("keyed.mp4")
    parts, _ = parts_of(source, tmp_path)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(ExhaustedError) as caught:
        join_segments(
            source,
            parts,
            full(tmp_path, "joined.mp4"),
            index=index_video(source),
            encoding=EXACT,
            context=Nobody(),
        )
    assert caught.value.code == "disk_full"
    assert sorted(left_of(tmp_path)) == before


@pytest.mark.parametrize("module", [encode, segments])
def test_a_file_that_grows_over_its_limit_ends_the_run_as_a_full_disk(
    clip, tmp_path, monkeypatch, module
):
    """The kernel stops the process in the middle of the file."""
    source, folder = clip("keyed.mp4"), tmp_path / "here"
    folder.mkdir()
    parts, _ = parts_of(source, tmp_path)
    monkeypatch.setattr(module, "Bounds", partial(Bounds, file_bytes=20_000))
    join = partial(
        join_segments, source, parts, index=index_video(source), encoding=EXACT, context=Nobody()
    )
    with pytest.raises(ExhaustedError) as caught:
        whole(source, folder) if module is encode else join(folder / "joined.mp4")
    assert caught.value.code == "disk_full"
    assert left_of(folder) == []


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from engines.errors import ExhaustedError
from engines.media.encoding import Encoding
from engines.media.index import index_video
from engines.media.video import transform_video
from tests.engines.media.parts import EXACT, Nobody, untouched

source, folder = Path(sys.argv[1]), Path(sys.argv[2])
done = []

class Watched(Nobody):
    def progress(self, frames, total, unit):
        done.append(frames)

try:
    transform_video(source, folder / "result.mp4", index=index_video(source), process=untouched,
                    batch=8, context=Watched(), encoding=EXACT)
except ExhaustedError as error:
    print(error.code, done[-1] > 8, list(folder.iterdir()))
"""


def test_a_disk_that_fills_up_on_the_way_is_seen_for_what_it_is(clip, tmp_path):
    """A real one, of 300 KiB, in a mount namespace of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=300k none {disk} || exit 77"
    program = [sys.executable, "-c", ON_A_SMALL_DISK, str(clip("minute.mp4")), str(disk)]
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    ran = subprocess.run(
        [*command, f'{mount}; exec "$@"', "sh", *program],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if ran.returncode == 77 or "unshare" in ran.stderr:
        pytest.skip("no mount namespaces here")
    assert ran.stdout.strip() == "disk_full True []", ran.stderr
