"""A video through an engine: decode, process in batches, encode, in bounded memory.

Three things happen at once: a thread decodes, the caller's thread processes, a thread encodes.
Between them waits one batch each, so memory does not depend on the length of the video.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np

from engines.errors import EngineFaultError, InvalidInputError
from engines.media.channel import Channel, ChannelClosedError
from engines.media.containers import Container
from engines.media.decode import Decoder, Frame, Pixels
from engines.media.encode import Encoder, Encoding, output_container
from engines.media.index import VideoIndex
from engines.media.verify import verify_copy

_BATCH_BYTES = 64 * 1024 * 1024  # of pixels; five batches are alive at the same time
_FEW_LOST = 8  # frames before the first key frame that no decoder can show
_LOST_SHARE = 0.05

Process = Callable[[Sequence[Frame]], Sequence[Pixels]]
Look = Callable[[Sequence[Frame]], None]


class VideoContext(Protocol):
    """The part of ``RunContext`` that is needed here."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Tell how far the run is."""

    def checkpoint(self) -> None:
        """Raise ``CanceledError`` if the run must stop."""


@dataclass(frozen=True, slots=True)
class VideoWork:
    """What was done."""

    frames: int  # shown pictures that went through the engine, each exactly once
    seconds: float  # of the timeline
    width: int  # pixels, upright
    height: int
    frames_lost: int = 0  # damaged in the source: no picture could be decoded
    container: Container | None = None  # of the result; None: nothing was encoded
    notes: tuple[str, ...] = ()  # what the result keeps less of than the source had


def read_frames(path: Path, index: VideoIndex) -> Iterator[Frame]:
    """Yield every picture of a video in the order they are shown, one at a time in memory.

    Raises:
        InvalidInputError: ``video_damaged``, ``video_size_changes``, ``media_unreadable`` and
            ``video_timestamps_invalid``, possibly after some pictures.
    """
    with Decoder(path, index) as decoder:
        yield from decoder.frames()
        _finish(decoder, index)


def scan_video(
    source: Path, *, index: VideoIndex, look: Look, batch: int, context: VideoContext
) -> VideoWork:
    """Show every frame to ``look`` in batches and write nothing; raises as ``read_frames``."""
    with Decoder(source, index) as decoder:
        done = _drive(decoder, index, batch, context, look)
        lost = _finish(decoder, index)
    return VideoWork(done, index.duration_s, index.width, index.height, lost)


def transform_video(
    source: Path,
    destination: Path,
    *,
    index: VideoIndex,
    process: Process,
    batch: int,
    context: VideoContext,
    encoding: Encoding | None = None,
) -> VideoWork:
    """Write ``source`` with every frame replaced by what ``process`` makes of it.

    Each frame keeps its exact timestamp, sound and subtitles are copied byte for byte, the shape
    and colour of pixels are kept, rotation is applied and its tag cleared. ``process`` gets up to
    ``batch`` frames (fewer if they are large) and returns as many pictures of the same size; it
    runs in the calling thread. The container of the result is ``output_container(index)``,
    whatever ``destination`` is called. On any error the destination does not exist.

    Raises:
        InvalidInputError: as ``read_frames``.
        CanceledError: from ``context.checkpoint``, which is called at least every half second.
        ExhaustedError: memory or disk ran out here.
        EngineFaultError: the encoder failed, ``process`` broke its promise, or the result is not
            what was asked for (codes ``video_encode_failed``, ``frames_mismatch``,
            ``video_verify_failed``).
    """
    try:
        with ExitStack() as stack:
            decoder = stack.enter_context(Decoder(source, index))
            sink = stack.enter_context(
                _Sink(source, destination, index, encoding or Encoding(), context)
            )

            def handle(frames: Sequence[Frame]) -> None:
                sink.put(frames, _checked(process(frames), frames))

            done = _drive(decoder, index, batch, context, handle)
            lost = _finish(decoder, index)
            sink.finish()
        verify_copy(source, destination, index=index, pts=sink.written, context=context)
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    seconds, notes = index.duration_s, _notes(index)
    container = output_container(index)
    return VideoWork(done, seconds, index.width, index.height, lost, container, notes)


def _drive(
    decoder: Decoder, index: VideoIndex, batch: int, context: VideoContext, handle: Look
) -> int:
    """Hand all frames to ``handle`` while a thread decodes ahead; return how many there were."""
    ahead = max(1, min(batch, _BATCH_BYTES // (index.width * index.height * 3)))
    done = 0
    with _Feed(decoder, ahead) as feed:
        while frames := feed.take(context):
            context.checkpoint()
            handle(frames)
            done += len(frames)
            context.progress(done, max(done, index.frames), "frames")
    return done


class _Feed:
    """The thread that decodes one batch ahead."""

    def __init__(self, decoder: Decoder, batch: int) -> None:
        self._decoder = decoder
        self._batch = batch
        self._channel: Channel[list[Frame]] = Channel(depth=1)
        self._thread = threading.Thread(target=self._read, name="video-decode", daemon=True)

    def _read(self) -> None:
        frames: list[Frame] = []
        try:
            for frame in self._decoder.frames():
                frames.append(frame)
                if len(frames) == self._batch:
                    self._channel.put(frames)
                    frames = []
            if frames:
                self._channel.put(frames)
            self._channel.end()
        except ChannelClosedError:
            return
        except Exception as error:  # noqa: BLE001 - raised again by take, in the caller's thread
            self._channel.fail(error)

    def take(self, context: VideoContext) -> list[Frame] | None:
        """Return the next batch, or ``None`` after the last one."""
        return self._channel.get(idle=context.checkpoint)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.leave()
        if error is not None:
            self._decoder.kill()
        self._thread.join()


@dataclass(slots=True)
class _Sink:
    """The thread that encodes one batch behind; the encoder starts with the first frame."""

    source: Path
    destination: Path
    index: VideoIndex
    encoding: Encoding
    context: VideoContext
    written: list[int] = field(default_factory=list)  # pts of what was encoded
    _channel: Channel[list[tuple[int, Pixels]]] = field(default_factory=lambda: Channel(depth=1))
    _encoder: Encoder | None = None
    _thread: threading.Thread | None = None
    _error: Exception | None = None

    def put(self, frames: Sequence[Frame], pictures: Sequence[Pixels]) -> None:
        """Hand over one batch; raises what the encoder failed with."""
        if self._encoder is None:
            self._start(frames[0].pts)
        pairs = [(frame.pts, pixels) for frame, pixels in zip(frames, pictures, strict=True)]
        try:
            self._channel.put(pairs, idle=self.context.checkpoint)
        except ChannelClosedError:
            self._raise()
        self.written.extend(frame.pts for frame in frames)

    def finish(self) -> None:
        """Wait until everything is on disk."""
        self._channel.end()
        while self._thread and self._thread.is_alive():
            self._thread.join(timeout=0.5)
            self.context.checkpoint()
        self._raise()

    def _start(self, first_pts: int) -> None:
        # In this thread: the process dies with the thread that started it.
        self._encoder = Encoder(
            self.source,
            self.destination,
            index=self.index,
            first_pts=first_pts,
            encoding=self.encoding,
        )
        self._thread = threading.Thread(target=self._write, name="video-encode", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        assert self._encoder is not None  # noqa: S101 - started together
        try:
            while pairs := self._channel.get():
                for pts, pixels in pairs:
                    self._encoder.write(pts, pixels)
            self._encoder.finish()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
            self._channel.leave()

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._encoder is None:
            return
        self._channel.end()
        if error is not None:
            self._encoder.kill()
        if self._thread:
            self._thread.join()
        with suppress(BrokenPipeError):
            self._encoder.__exit__(kind, error, trace)


def _checked(pictures: Sequence[Pixels], frames: Sequence[Frame]) -> list[Pixels]:
    """Insist on one picture per frame, of the same size."""
    shape = frames[0].pixels.shape
    fits = len(pictures) == len(frames) and all(
        picture.shape == shape and picture.dtype == np.uint8 for picture in pictures
    )
    if not fits:
        detail = f"an engine must return {len(frames)} pictures of shape {shape}, 8 bits each"
        raise EngineFaultError(detail, code="frames_mismatch")
    return [np.ascontiguousarray(picture) for picture in pictures]


def _finish(decoder: Decoder, index: VideoIndex) -> int:
    """Return how many frames were lost to damage; refuse when they are many."""
    decoder.finish()
    lost = max(0, index.frames - decoder.decoded)
    if index.exact and lost > max(_FEW_LOST, index.frames * _LOST_SHARE):
        detail = f"{lost} of {index.frames} frames cannot be decoded: upload an undamaged copy"
        raise InvalidInputError(detail, code="video_damaged")
    return lost if index.exact else 0


def _notes(index: VideoIndex) -> tuple[str, ...]:
    notes = []
    if index.picture.bit_depth > 8:  # noqa: PLR2004 - bits
        notes.append(f"{index.picture.bit_depth}-bit colour was processed and stored in 8 bits")
    if index.picture.has_alpha:
        notes.append("transparency was dropped")
    if "first" in index.picture.field_order:
        notes.append("interlaced frames were stored as progressive")
    return tuple(notes)
