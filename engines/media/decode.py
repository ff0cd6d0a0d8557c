"""A video as a stream of pictures, each with its exact timestamp."""

import contextlib
import fcntl
import os
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import ffmpeg
import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineError, ExhaustedError, InvalidInputError
from engines.media.ffmpeg import Bounds, Process, command, reading
from engines.media.index import VideoIndex, size_changes, timestamps

Pixels = NDArray[np.uint8]
_PIPE_BYTES = 1 << 20  # the most an unprivileged process may ask for
_RESIZED = re.compile(r"Reconfiguring filter graph.* changed to .*?, (\d+)x(\d+)")
# Plain 8-bit video has a fast path that repeats chroma; averaging it back, as the encoder does,
# returns nearly the chroma there was (48 dB and more), at a fifth of the time of interpolating.
_FAST, _ACCURATE = "bicubic", "bicubic+accurate_rnd+full_chroma_int"
_PLAIN_BITS = 8
_QUARTER_TURNS = frozenset({90, 270})


@dataclass(frozen=True, slots=True)
class Frame:
    """One shown picture."""

    index: int  # position in the video, from 0
    pts: int  # ticks of the index's time base
    pts_s: float  # seconds
    pixels: Pixels  # height x width x 3, BGR, upright


class Decoder:
    """One ffmpeg that decodes a file. Use as a context manager in a thread that stays.

    Raw pixels come through one pipe; a second one says for each picture its timestamp and size,
    just before its pixels. Memory is one picture, whatever the length.
    """

    def __init__(self, path: Path, index: VideoIndex, *, threads: int = 0) -> None:
        self._index = index
        self._cleanup = ExitStack()
        facts, told = os.pipe()
        self._facts: IO[bytes] = self._cleanup.enter_context(os.fdopen(facts, "rb"))
        try:
            self._process = self._cleanup.enter_context(
                Process(
                    _arguments(path, index, told, threads),
                    bounds=Bounds(),
                    keep=(told,),
                    watch=_RESIZED,
                )
            )
        finally:
            os.close(told)
        widen(self._process.stdout)
        self.decoded = 0

    @property
    def pid(self) -> int:
        """The process id, for measurements."""
        return self._process.pid

    def frames(self) -> Iterator[Frame]:
        """Yield every picture once, in the order they are shown; may run in another thread."""
        index, last = self._index, None
        size = index.width * index.height * 3
        for line in self._facts:
            pts, bytes_ = self._fact(line)
            if bytes_ != size:
                raise size_changes()
            if last is not None and pts <= last:
                detail = "frame timestamps go backwards: convert the video first"
                raise InvalidInputError(detail, code="video_timestamps_invalid")
            pixels = np.empty((index.height, index.width, 3), np.uint8)
            if not _fill(self._process.stdout, pixels):
                return
            yield Frame(self.decoded, pts, index.seconds(pts), pixels)
            self.decoded += 1
            last = pts

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


def _arguments(path: Path, index: VideoIndex, told: int, threads: int) -> list[str]:
    source = ffmpeg.input(
        f"file:{path}",
        **reading(index.container.demuxer),
        **timestamps(index.container),
        threads=threads,
    )
    picture = index.picture
    plain = picture.bit_depth == _PLAIN_BITS and picture.subsampling != "444"
    output = ffmpeg.output(
        source["V:0"],
        "pipe:1",
        f="rawvideo",
        vf=f"scale=flags={_FAST if plain else _ACCURATE},format=bgr24",
        fps_mode="passthrough",
        enc_time_base="demux",
        noautoscale=None,
        avioflags="direct",  # a picture is written as it is, not copied in pieces first
        **{
            "stats_enc_post:v": f"pipe:{told}",
            "stats_enc_post_fmt:v": "{pts} {tb} {size}",
        },
    )
    # The info level is what tells that the picture size changed.
    arguments: list[str] = output.compile(cmd=command(loglevel="info"))
    return arguments


def _fill(stream: IO[bytes], pixels: Pixels) -> bool:
    """Read one picture; False if the stream ended inside it."""
    view = pixels.data.cast("B")
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
