"""Pictures with timestamps become a video again; sound and subtitles are copied untouched."""

import signal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import ffmpeg

from engines.errors import EngineError, EngineFaultError, ExhaustedError
from engines.media.containers import timestamps
from engines.media.decode import Frame, widen
from engines.media.encoding import (
    NVENC,
    Encoding,
    copy_options,
    encoder_of,
    file_options,
    part_options,
    rewriting,
    video_options,
)
from engines.media.ffmpeg import Bounds, Process, command, reading
from engines.media.index import VideoIndex
from engines.media.nut import RawPictures
from engines.media.planes import Conversion, Pixels, in_planes
from engines.spec import Segment


class Encoder:
    """One ffmpeg that encodes pictures and copies sound. A context manager in a thread that stays.

    The picture format, pixel shape and colour of the source are kept. With ``segment`` the file is
    a part: pictures alone, at their times in the whole.
    """

    def __init__(
        self,
        source: Path,
        destination: Path,
        *,
        index: VideoIndex,
        first_pts: int,
        encoding: Encoding,
        segment: Segment | None = None,
    ) -> None:
        self._first = first_pts
        planes = in_planes(index.picture, index.width, index.height)
        self._conversion = Conversion.of(index.picture) if planes else None
        self._pictures = RawPictures(
            index.width, index.height, index.time_base, index.sample_aspect, planes
        )
        options = {
            **video_options(index, encoding),
            "bsf:v": rewriting(index, encoding, first_pts, segment),
        }
        arguments = (
            _arguments(source, destination, index, {**options, **file_options(index, encoding)})
            if segment is None
            else _part_arguments(destination, {**options, **part_options(index)})
        )
        on_device = encoder_of(index, encoding) == NVENC
        bounds = Bounds.on_device() if on_device else Bounds()
        self._process = Process(arguments, bounds=bounds, feed=True)
        widen(self._process.stdin)
        self._begun = False

    @property
    def pid(self) -> int:
        """The process id, for measurements."""
        return self._process.pid

    def write(self, pts: int, picture: Frame | Pixels) -> None:
        """Encode one picture at ``pts`` ticks, a frame as it was; may run in another thread."""
        stored = picture.stored if isinstance(picture, Frame) else self._stored(picture)
        try:
            if not self._begun:
                self._begun = True
                self._process.stdin.write(self._pictures.header())
            self._process.stdin.write(self._pictures.frame_header(pts - self._first))
            self._process.stdin.write(stored.data)
        except BrokenPipeError:
            raise self._failure(self._process.wait()) from None

    def _stored(self, pixels: Pixels) -> Pixels:
        return self._conversion.planes(pixels) if self._conversion else pixels

    def finish(self) -> None:
        """Say that the last picture was written and wait until the file is complete."""
        try:
            self._process.stdin.close()
        except BrokenPipeError:
            raise self._failure(self._process.wait()) from None
        if status := self._process.wait():
            raise self._failure(status)

    def _failure(self, status: int) -> EngineError:
        return writing_failed(status, self._process.messages.text())

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


def writing_failed(status: int, text: str) -> EngineError:
    """Say why a process that wrote a video ended with ``status`` and these messages."""
    if "No space left on device" in text or status == -signal.SIGXFSZ:
        detail = "the disk of the worker is full: another attempt may succeed"
        return ExhaustedError(detail, code="disk_full")
    if status == -signal.SIGKILL or "Cannot allocate memory" in text:
        return ExhaustedError("encoding ran out of memory: another attempt may succeed")
    last = text.splitlines()[-1] if text else f"status {status}"
    return EngineFaultError(f"encoding the video failed: {last}", code="video_encode_failed")


def _pipe() -> Any:  # noqa: ANN401 - ffmpeg-python has no types
    # Our own pictures need no guessing: the first bytes say everything about them.
    return ffmpeg.input(
        "pipe:0", protocol_whitelist="file,pipe", f="nut", probesize=32, analyzeduration=0
    )


def _arguments(
    source: Path, destination: Path, index: VideoIndex, options: dict[str, Any]
) -> list[str]:
    streams = [_pipe()["v:0"], *copied_tracks(source, index)]
    output = ffmpeg.output(*streams, f"file:{destination}", **options, **copy_options(index))
    arguments: list[str] = output.compile(cmd=[*command(), "-y"])
    return arguments


def _part_arguments(destination: Path, options: dict[str, Any]) -> list[str]:
    output = ffmpeg.output(_pipe()["v:0"], f"file:{destination}", **options)
    arguments: list[str] = output.compile(cmd=[*command(), "-y"])
    return arguments


def copied_tracks(source: Path, index: VideoIndex) -> list[Any]:
    """Return the sound and subtitles of a video as inputs of a command."""
    if not index.tracks and not index.has_chapters:
        return []
    original = ffmpeg.input(
        f"file:{source}", **reading(index.container.demuxer), **timestamps(index.container)
    )
    # Chapters are no stream: what may be missing opens the file for their sake.
    names = [str(track.position) for track in index.tracks] or ["s?"]
    return [original[name] for name in names]
