"""Pictures with timestamps become a video again; sound and subtitles are copied untouched."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Self

import ffmpeg

from engines.errors import EngineError, EngineFaultError, ExhaustedError
from engines.media.containers import MATROSKA, MOV, MP4, Container
from engines.media.decode import Pixels, widen
from engines.media.ffmpeg import Bounds, Process, command, reading
from engines.media.index import VideoIndex, timestamps
from engines.media.nut import RawPictures
from engines.media.streams import Colour, Track

_MP4_AUDIO = frozenset({"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"})
_MUXERS = {MP4.name: "mp4", MOV.name: "mov", MATROSKA.name: "matroska"}
_SUFFIXES = {MP4.name: ".mp4", MOV.name: ".mov", MATROSKA.name: ".mkv"}
# With a fourth byte per pixel the scaler takes its exact way; from three bytes it takes a coarser
# one (4 dB), and rounding accurately from there gives the same pixels in half as much time again.
_SCALED_FROM, _SCALER = "bgr0", "area"
# What the scaler can compute; everything else that stores YUV is close to BT.601.
_MATRICES = {
    "bt709": "bt709",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
    "fcc": "fcc",
    "smpte240m": "smpte240m",
    "gbr": "bt709",
}


@dataclass(frozen=True, slots=True)
class Encoding:
    """How much quality and time the encoder spends."""

    crf: int = 18  # 0 lossless .. 51; 18 is hard to tell from the source
    preset: str = "veryfast"
    threads: int = 0  # 0: as many as there are cores


def output_container(index: VideoIndex) -> Container:
    """Return the container that the result of this video gets.

    MOV and Matroska stay what they are; everything else becomes MP4 where MP4 can hold the
    sound and subtitles untouched, else Matroska.
    """
    subtitles = all(track.codec == "mov_text" for track in index.tracks if track.kind != "audio")
    sound = all(track.codec in _MP4_AUDIO for track in index.tracks if track.kind == "audio")
    if index.container.name == MATROSKA.name or not subtitles:
        return MATROSKA
    if index.container.name == MOV.name:
        return MOV
    return MP4 if sound else MATROSKA


def output_suffix(index: VideoIndex) -> str:
    """Return the file name ending of the result, e.g. ``.mp4``."""
    return _SUFFIXES[output_container(index).name]


class Encoder:
    """One ffmpeg that encodes pictures and copies sound. A context manager in a thread that stays.

    The picture format, pixel shape and colour of the source are kept; a size that is odd in
    either direction is stored without chroma subsampling, since H.264 cannot halve it.
    """

    def __init__(
        self,
        source: Path,
        destination: Path,
        *,
        index: VideoIndex,
        first_pts: int,
        encoding: Encoding,
    ) -> None:
        self._first = first_pts
        self._pictures = RawPictures(
            index.width, index.height, index.time_base, index.sample_aspect
        )
        arguments = _arguments(source, destination, index, first_pts, encoding)
        self._process = Process(arguments, bounds=Bounds(), feed=True)
        widen(self._process.stdin)
        self._begun = False

    @property
    def pid(self) -> int:
        """The process id, for measurements."""
        return self._process.pid

    def write(self, pts: int, pixels: Pixels) -> None:
        """Encode one picture at ``pts`` ticks; may run in another thread, in order."""
        try:
            if not self._begun:
                self._begun = True
                self._process.stdin.write(self._pictures.header())
            self._process.stdin.write(self._pictures.frame_header(pts - self._first))
            self._process.stdin.write(pixels.data)
        except BrokenPipeError:
            raise self._failure(self._process.wait()) from None

    def finish(self) -> None:
        """Say that the last picture was written and wait until the file is complete."""
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._failure(self._process.wait()) from None
        if status := self._process.wait():
            raise self._failure(status)

    def _failure(self, status: int) -> EngineError:
        text = self._process.messages.text()
        if "No space left on device" in text or status == -signal.SIGXFSZ:
            detail = "the disk of the worker is full: another attempt may succeed"
            return ExhaustedError(detail, code="disk_full")
        if status == -signal.SIGKILL or "Cannot allocate memory" in text:
            return ExhaustedError("encoding ran out of memory: another attempt may succeed")
        last = text.splitlines()[-1] if text else f"status {status}"
        return EngineFaultError(f"encoding the video failed: {last}", code="video_encode_failed")

    def kill(self) -> None:
        """End encoding now; a thread in ``write`` gets an error."""
        self._process.kill()

    def __enter__(self) -> Self:
        """Return the encoder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and close the pipes."""
        self._process.__exit__(kind, error, trace)


def _arguments(
    source: Path, destination: Path, index: VideoIndex, first_pts: int, encoding: Encoding
) -> list[str]:
    # Our own pictures need no guessing: the first bytes say everything about them.
    pictures = ffmpeg.input(
        "pipe:0", protocol_whitelist="file,pipe", f="nut", probesize=32, analyzeduration=0
    )
    streams = [pictures["v:0"]]
    if index.tracks:
        original = ffmpeg.input(
            f"file:{source}", **reading(index.container.demuxer), **timestamps(index.container)
        )
        streams += [original[str(track.position)] for track in index.tracks]
    output = ffmpeg.output(
        *streams,
        f"file:{destination}",
        **_video_options(index, first_pts, encoding),
        **_copy_options(index.tracks),
        **_file_options(index),
    )
    arguments: list[str] = output.compile(cmd=[*command(), "-y"])
    return arguments


def _video_options(index: VideoIndex, first_pts: int, encoding: Encoding) -> dict[str, str | int]:
    rate = Fraction(index.fps or 25).limit_denominator(1001)
    return {
        "c:v": "libx264",
        "preset": encoding.preset,
        "crf": encoding.crf,
        "threads:v": encoding.threads,
        # Only levels and buffers follow from the mean rate; every frame keeps its own time.
        "x264-params": f"fps={rate.numerator}/{rate.denominator}",
        "fps_mode": "passthrough",
        "enc_time_base": "demux",
        "vf": _filters(index),
        "bsf:v": ",".join([*_said_range(index), _retiming(index, first_pts)]),
    }


def _filters(index: VideoIndex) -> str:
    colour = index.picture.colour
    full = "pc" if colour.range == "pc" else "tv"
    matrix = _MATRICES.get(colour.matrix, "smpte170m")
    scale = f"scale=out_color_matrix={matrix}:out_range={full}:flags={_SCALER}"
    ready = f"format={_pixel_format(index)},setparams={_tags(colour)}"
    return f"format={_SCALED_FROM},{scale},{ready}"


def _pixel_format(index: VideoIndex) -> str:
    """Return the source's subsampling where its size allows it."""
    wide = index.width % 2 or (index.rotation % 180 and index.picture.subsampling == "422")
    kept = index.picture.subsampling
    if kept == "420" and not index.width % 2 and not index.height % 2:
        return "yuv420p"
    return "yuv422p" if kept == "422" and not wide else "yuv444p"


def _tags(colour: Colour) -> str:
    # RGB sources are stored as BT.709, and say so.
    matrix = "bt709" if colour.matrix == "gbr" else colour.matrix
    named = {
        "range": colour.range,
        "colorspace": matrix,
        "color_primaries": colour.primaries,
        "color_trc": colour.transfer,
    }
    return ":".join(f"{name}={value}" for name, value in named.items())


def _said_range(index: VideoIndex) -> list[str]:
    """Keep an explicit limited range: the encoder leaves out what is the default anyway."""
    limited = index.picture.colour.range == "tv"
    return ["h264_metadata=video_full_range_flag=0"] if limited else []


def _retiming(index: VideoIndex, first_pts: int) -> str:
    """Move the stream back to its start and give the last frame the length it had."""
    last = index.pts[-1] - first_pts
    duration = f"if(eq(PTS,{last}),{index.last_duration},DURATION)"
    return f"setts=pts=PTS+({first_pts}):dts=DTS+({first_pts}):duration='{duration}'"


def _copy_options(tracks: Sequence[Track]) -> dict[str, str]:
    languages = {
        f"metadata:s:{place}": f"language={track.language}"
        for place, track in enumerate(tracks, start=1)
        if track.language
    }
    # Descriptions may hold places and names; only what a player needs is carried over.
    copied = {"c:a": "copy", "c:s": "copy", "map_chapters": "1"} if tracks else {}
    return {**copied, "map_metadata": "-1", **languages, "disposition:v:0": "default"}


def _file_options(index: VideoIndex) -> dict[str, str | int | None]:
    muxer = _MUXERS[output_container(index).name]
    options: dict[str, str | int | None] = {"f": muxer, **timestamps(index.container)}
    if muxer != "matroska":
        options["video_track_timescale"] = index.time_base.denominator
        options["movflags"] = "+faststart"
    return options
