"""Short clips of every kind, made by ffmpeg when a test asks for one."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.media.ffmpeg import find_ffmpeg

PICTURES = "-f lavfi -i testsrc=s=192x108:r=25:d=2"
SOUND = "-f lavfi -i sine=d=2"
X264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"

# name: the arguments of ffmpeg before the name of the file it writes
RECIPES = {
    "constant.mp4": f"{PICTURES} {SOUND} {X264} -bf 2 -c:a aac",
    "silent.mp4": f"{PICTURES} {X264}",
    "variable.mp4": (
        f"{PICTURES} {SOUND} -vf select='not(mod(n,3))+lt(n,20)' -fps_mode passthrough"
        f" {X264} -bf 2 -c:a aac -video_track_timescale 30000"
    ),
    "late.mp4": f"-itsoffset 0.5 {PICTURES} {SOUND} {X264} -c:a aac",
    "odd.mp4": "-f lavfi -i testsrc=s=193x107:r=25:d=1 -c:v libx264 -pix_fmt yuv444p",
    "odd.webm": "-f lavfi -i testsrc=s=193x107:r=25:d=1 -c:v libvpx-vp9 -cpu-used 8"
    " -pix_fmt yuv420p",
    "deep.mp4": (
        f"{PICTURES} -c:v libx265 -preset ultrafast -x265-params log-level=none"
        " -pix_fmt yuv420p10le"
        " -vf scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,"
        "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084"
    ),
    "bt709.mp4": (
        f"{PICTURES} -vf scale=out_color_matrix=bt709:out_range=pc,setsar=4/3,format=yuv420p,"
        f"setparams=range=pc:colorspace=bt709:color_primaries=bt709:color_trc=bt709 {X264}"
    ),
    "subtitled.mkv": (
        f"{PICTURES} {SOUND} -f srt -i SUBTITLES {X264} -c:a libvorbis -c:s srt"
        " -metadata:s:a:0 language=deu"
    ),
    "broadcast.ts": f"{PICTURES} {SOUND} {X264} -bf 2 -c:a aac -output_ts_offset 5000 -f mpegts",
    "camera.mov": f"{PICTURES} {SOUND} -c:v mjpeg -c:a pcm_s16le",
    "old.avi": f"{PICTURES} {SOUND} -c:v mpeg4 -bf 2 -c:a libmp3lame",
    "hidden.webm": f"{PICTURES} -c:v libvpx -auto-alt-ref 1 -lag-in-frames 16 -b:v 200k",
    "fragmented.mp4": f"{PICTURES} {SOUND} {X264} -c:a aac -movflags +frag_keyframe+empty_moov",
    "sound_only.mp4": f"{SOUND} -c:a aac",
    "cover.m4a": f"{SOUND} -f lavfi -i testsrc=s=64x64:d=0.04 -map 0 -map 1 -c:v mjpeg"
    " -disposition:v attached_pic",
    "tall.ts": "-f lavfi -i testsrc=s=108x192:r=25:d=1 -c:v libx264 -f mpegts",
    "wide.ts": "-f lavfi -i testsrc=s=192x108:r=25:d=1 -c:v libx264 -f mpegts",
    "large.ts": "-f lavfi -i testsrc=s=384x216:r=25:d=1 -c:v libx264 -f mpegts",
    # A key frame every eight: what can be cut into parts.
    "keyed.mp4": f"{PICTURES} {SOUND} {X264} -bf 2 -g 8 -sc_threshold 0 -c:a aac",
    "keyed_variable.mp4": (
        f"{PICTURES} {SOUND} -vf select='not(mod(n,3))+lt(n,20)' -fps_mode passthrough {X264}"
        " -bf 2 -g 6 -sc_threshold 0 -c:a aac -video_track_timescale 30000"
    ),
    "keyed_late.mkv": (
        f"-itsoffset 0.5 {PICTURES} {SOUND} -f srt -i SUBTITLES {X264} -bf 2 -g 8 -c:a libvorbis"
        " -c:s srt"
    ),
    "keyed_open.mp4": (
        f"{PICTURES} {SOUND} -c:v libx265 -preset ultrafast -pix_fmt yuv420p -c:a aac -x265-params"
        " keyint=8:min-keyint=8:open-gop=1:bframes=4:scenecut=0:log-level=none"
    ),
    "keyed.webm": (
        f"{PICTURES} {SOUND} -c:v libvpx-vp9 -cpu-used 8 -g 8 -pix_fmt yuv420p -c:a libopus"
    ),
    "keyed.mov": f"{PICTURES} {SOUND} -c:v mjpeg -c:a pcm_s16le",
    "keyed_micro.mp4": f"{PICTURES} {X264} -bf 2 -g 8 -video_track_timescale 1000000",
    # Five frames a second: a last frame that lost its length would show.
    "slow.mp4": f"-f lavfi -i testsrc=s=192x108:r=5:d=1 {X264} -bf 2 -g 3 -sc_threshold 0",
    "slow.webm": "-f lavfi -i testsrc=s=192x108:r=5:d=1 -c:v libvpx-vp9 -cpu-used 8 -g 3",
    "minute.mp4": f"-f lavfi -i testsrc=s=320x180:r=25:d=60 {X264}",
}
# name: (made from, arguments before its input, arguments after it)
DERIVED = {
    "turned.mp4": ("constant.mp4", "-display_rotation -90", "-c copy"),
    "upside_down.mp4": ("constant.mp4", "-display_rotation 180", "-c copy"),
    "cut.mp4": ("constant.mp4", "-ss 0.5", "-c copy"),
    "fast.mp4": ("constant.mp4", "", "-c copy -movflags +faststart"),
    "keyed_fragments.mp4": ("keyed.mp4", "", "-c copy -movflags +frag_keyframe+empty_moov"),
    "keyed_turned.mp4": ("keyed.mp4", "-display_rotation -90", "-c copy"),
    "chapters.mkv": ("keyed_late.mkv", "", "-map 0 -c copy -map_metadata 0 CHAPTERS"),
    "chapters_alone.mp4": ("silent.mp4", "", "-c copy CHAPTERS"),
    "keyed_cut.mp4": ("keyed_open.mp4", "-ss 0.9", "-c copy"),
    "copy.mkv": ("constant.mp4", "", "-c copy"),
}
CHAPTERS = (
    ";FFMETADATA1\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=700\ntitle=before\n"
    "[CHAPTER]\nTIMEBASE=1/1000\nSTART=700\nEND=2000\ntitle=after\n"
)
SUBTITLES = "1\n00:00:00,200 --> 00:00:01,000\nhello\n"

Clip = Callable[[str], Path]


def ffmpeg(*arguments: str) -> bytes:
    """Run ffmpeg for a test, with nothing of ours in between."""
    command = [find_ffmpeg(), "-y", "-nostdin", "-hide_banner", "-loglevel", "error", *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Make a clip of ``RECIPES`` or ``DERIVED`` by name, once."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "subtitles.srt").write_text(SUBTITLES)
    (folder / "chapters.txt").write_text(CHAPTERS)

    def make(name: str) -> Path:
        path = folder / name
        if path.exists():
            return path
        if name in DERIVED:
            origin, before, after = DERIVED[name]
            inputs = [*before.split(), "-i", str(make(origin))]
            if "CHAPTERS" in after:
                inputs += ["-f", "ffmetadata", "-i", str(folder / "chapters.txt")]
            ffmpeg(*inputs, *after.replace("CHAPTERS", "-map_chapters 1").split(), str(path))
        else:
            recipe = RECIPES[name].replace("SUBTITLES", str(folder / "subtitles.srt"))
            ffmpeg(*recipe.split(), str(path))
        return path

    return make


@pytest.fixture(scope="session")
def make() -> Callable[..., bytes]:
    """Run ffmpeg with any arguments, ``-y`` given."""
    return ffmpeg


@pytest.fixture(scope="session")
def packets() -> Callable[[Path, str], list[tuple[str, str]]]:
    """List (size, checksum) of every packet of a stream, read without our own code."""

    def read(path: Path, stream: str) -> list[tuple[str, str]]:
        table = ffmpeg("-i", str(path), "-map", f"0:{stream}", "-c", "copy", "-f", "framecrc", "-")
        rows = [line.split(",") for line in table.decode().splitlines() if line[0] != "#"]
        return [(row[4].strip(), row[5].strip()) for row in rows]

    return read
