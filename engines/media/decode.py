"""A video as a stream of pictures, each with its exact timestamp."""

import contextlib
import fcntl
import math
import os
import re
import signal
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import ffmpeg
import numpy as np

from engines.errors import EngineError, ExhaustedError, InvalidInputError
from engines.media.containers import MATROSKA, MOV, MP4, WEBM, timestamps
from engines.media.ffmpeg import Bounds, Process, command, reading
from engines.media.frame import Frame
from engines.media.hardware import can_decode
from engines.media.index import VideoIndex
from engines.media.planes import Conversion, Pixels, Planes, in_planes
from engines.media.refusals import size_changes

__all__ = ["Decoder", "Frame", "Pixels", "Span", "widen"]

_PIPE_BYTES = 1 << 20  # the most an unprivileged process may ask for
_RESIZED = re.compile(r"Reconfiguring filter graph.* changed to .*?, (\d+)x(\d+)")
# Where a frame cannot stay in planes, plain 8-bit video has a fast path that repeats chroma;
# averaging it back, as the encoder does, returns nearly the chroma there was (48 dB and more), at a
# fifth of the time of interpolating.
_FAST, _ACCURATE = "bicubic", "bicubic+accurate_rnd+full_chroma_int"
_PLAIN_BITS = 8
_QUARTER_TURNS = frozenset({90, 270})


_NVDEC_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "mpeg2video"})
# These find a key frame by its time; the others are read from the beginning.
_ENTERED_BY_TIME = frozenset({MP4.name, MOV.name, MATROSKA.name, WEBM.name})


@dataclass(frozen=True, slots=True)
class Span:
    """What is decoded: the frames with ``start_pts <= pts < end_pts``."""

    first_frame: int  # position of the frame at ``start_pts``
    start_pts: int
    end_pts: int | None = None  # None: to the end
    lead_in_until: int | None = None  # pts before this are only looked at; None: no such frames


class Decoder:
    """One ffmpeg that decodes a file. Use as a context manager in a thread that stays.

    Raw pictures come through one pipe; a second one says for each its timestamp and size, just
    before it. Memory is one picture, whatever the length.
    """

    def __init__(
        self, path: Path, index: VideoIndex, *, span: Span | None = None, threads: int = 0
    ) -> None:
        self._index, self._span = index, span
        self._planes = in_planes(index.picture, index.width, index.height)
        on_device = self._planes and index.codec in _NVDEC_CODECS and can_decode()
        self._cleanup = ExitStack()
        facts, told = os.pipe()
        self._facts: IO[bytes] = self._cleanup.enter_context(os.fdopen(facts, "rb"))
        try:
            self._process = self._cleanup.enter_context(
                Process(
                    _arguments(path, index, told, span, _means(threads, on_device=on_device)),
                    bounds=Bounds.on_device() if on_device else Bounds(),
                    keep=(told,),
                    watch=_RESIZED,
                )
            )
        finally:
            os.close(told)
        widen(self._process.stdout)
        self.decoded = 0  # frames, those of the lead-in not counted

    @property
    def pid(self) -> int:
        """The process id, for measurements."""
        return self._process.pid

    def frames(self) -> Iterator[Frame]:
        """Yield every picture once, in the order they are shown; may run in another thread."""
        index, span, last = self._index, self._span, None
        place, own_from = (span.first_frame, span.lead_in_until) if span else (0, None)
        conversion = Conversion.of(index.picture) if self._planes else None
        height, width = index.height, index.width
        shape = (height * 3 // 2, width) if self._planes else (height, width, 3)
        for line in self._facts:
            pts, bytes_ = self._fact(line)
            if bytes_ != math.prod(shape):
                raise size_changes()
            if last is not None and pts <= last:
                detail = "frame timestamps go backwards: convert the video first"
                raise InvalidInputError(detail, code="video_timestamps_invalid")
            stored = np.empty(shape, np.uint8)
            if not _fill(self._process.stdout, stored):
                return
            lead_in = own_from is not None and pts < own_from
            self.decoded += not lead_in
            seconds = index.seconds(pts)
            yield Frame(place, pts, seconds, stored, conversion=conversion, lead_in=lead_in)
            place, last = place + 1, pts

    def _fact(self, line: bytes) -> tuple[int, int]:
        pts, time_base, size = line.split()
        if Fraction(time_base.decode()) != self._index.time_base:
            detail = "the video changed since it was indexed: upload it again"
            raise InvalidInputError(detail, code="media_unreadable")
        return int(pts), int(size)

    def finish(self) -> None:
        """Check how decoding ended; call it after the last picture.

        Raises ``InvalidInputError`` when too little of the video could be decoded.
        """
        status = self._process.wait()
        if error := _failure(status, self._process.messages.text()):
            raise error
        self._refuse_resizing()
        if not self.decoded:
            detail = "no frame of the video can be decoded: it is damaged"
            raise InvalidInputError(detail, code="media_unreadable")

    def _refuse_resizing(self) -> None:
        """Catch a change between sizes of equal area, which the byte counts do not show."""
        seen = self._process.messages.seen
        found = _RESIZED.search(seen) if seen else None
        if not found:
            return
        width, height = self._index.width, self._index.height
        if self._index.rotation in _QUARTER_TURNS:
            width, height = height, width
        if (int(found[1]), int(found[2])) != (width, height):
            raise size_changes()

    def kill(self) -> None:
        """End decoding now; a thread in ``frames`` sees the end of the video."""
        self._process.kill()

    def __enter__(self) -> Self:
        """Return the decoder itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and close the pipes."""
        self._cleanup.close()


def _means(threads: int, *, on_device: bool) -> dict[str, str | int]:
    """Return what decodes; ffmpeg itself takes software for what the device does not know."""
    return {"threads": threads, **({"hwaccel": "cuda"} if on_device else {})}


def _arguments(
    path: Path,
    index: VideoIndex,
    told: int,
    span: Span | None,
    means: dict[str, str | int],
) -> list[str]:
    source = ffmpeg.input(
        f"file:{path}",
        **_entry(index, span),
        **reading(index.container.demuxer),
        **timestamps(index.container),
        **means,
    )
    output = ffmpeg.output(
        source["V:0"],
        "pipe:1",
        f="rawvideo",
        vf=",".join([*_cut(span), _form(index)]),
        fps_mode="passthrough",
        enc_time_base="demux",
        noautoscale=None,
        **{
            "threads:v": 1,  # raw frames are only copied: handing them to threads costs more
            "stats_enc_post:v": f"pipe:{told}",
            "stats_enc_post_fmt:v": "{pts} {tb} {size}",
        },
    )
    # The info level is what tells that the picture size changed.
    arguments: list[str] = output.compile(cmd=command(loglevel="info"))
    return arguments


def _entry(index: VideoIndex, span: Span | None) -> dict[str, str | int | None]:
    """Begin one key frame before the one that is needed.

    Frames right after a key frame may need the one before it (open GOPs), and a demuxer may find
    it by decoding time, which is earlier; what is decoded too early is cut away by its timestamp.
    """
    if span is None or index.container.name not in _ENTERED_BY_TIME:
        return {}
    needed = bisect_right(index.keys, span.start_pts) - 1
    if needed < 2:  # noqa: PLR2004 - the key frame before it is the first
        return {}
    micros = math.floor(index.keys[needed - 1] * index.time_base * 1_000_000)
    return {"ss": f"{micros}us", "seek_timestamp": 1, "noaccurate_seek": None}


def _cut(span: Span | None) -> list[str]:
    if span is None:
        return []
    end = "" if span.end_pts is None else f":end_pts={span.end_pts}"
    return [f"trim=start_pts={span.start_pts}{end}"]


def _form(index: VideoIndex) -> str:
    """Planes as they are, or BGR."""
    picture = index.picture
    if in_planes(picture, index.width, index.height):
        return "format=yuv420p|yuvj420p"
    plain = picture.bit_depth == _PLAIN_BITS and picture.subsampling != "444"
    return f"scale=flags={_FAST if plain else _ACCURATE},format=bgr24"


def _fill(stream: IO[bytes], picture: Pixels | Planes) -> bool:
    """Read one picture; False if the stream ended inside it."""
    view = picture.data.cast("B")
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])  # type: ignore[attr-defined] # a BufferedReader
        if not got:
            return False
        done += got
    return True


def _failure(status: int, text: str) -> EngineError | None:
    if status == -signal.SIGKILL or "Cannot allocate memory" in text:
        return ExhaustedError("decoding ran out of memory: another attempt may succeed")
    if status != 0:
        detail = "the video cannot be decoded: it is damaged"
        return InvalidInputError(detail, code="video_damaged")
    return None


def widen(pipe: IO[bytes]) -> None:
    """Let a pipe hold as much as allowed: a picture takes fewer turns between processes."""
    with contextlib.suppress(OSError):  # the user's pipe quota is used up; only slower
        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
