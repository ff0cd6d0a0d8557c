"""The two threads around an engine: one decodes a batch ahead, one encodes a batch behind."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from engines.media.channel import Channel, ChannelClosedError
from engines.media.decode import Decoder, Frame
from engines.media.encode import Encoder
from engines.media.encoding import Encoding
from engines.media.index import VideoIndex
from engines.media.planes import Pixels
from engines.spec import Segment


class VideoContext(Protocol):
    """The part of ``RunContext`` that is needed here."""

    def progress(self, done: int, total: int, unit: str) -> None:
        """Tell how far the run is."""

    def checkpoint(self) -> None:
        """Raise ``CanceledError`` if the run must stop."""


class Feed:
    """The thread that decodes one batch ahead.

    Frames of an engine that looks at them are made ready to look at here, beside its work.
    """

    def __init__(self, decoder: Decoder, batch: int) -> None:
        self._decoder = decoder
        self._batch = batch
        self._channel: Channel[list[Frame]] = Channel(depth=1)
        self._taken: list[Frame] = []
        self._looks = False
        self._thread = threading.Thread(target=self._read, name="video-decode", daemon=True)

    def _read(self) -> None:
        frames: list[Frame] = []
        try:
            for frame in self._decoder.frames():
                if frames and (len(frames) == self._batch or frames[0].lead_in > frame.lead_in):
                    self._channel.put(frames)
                    frames = []
                if self._looks:
                    frame.prepare()
                frames.append(frame)
            if frames:
                self._channel.put(frames)
            self._channel.end()
        except ChannelClosedError:
            return
        except Exception as error:  # noqa: BLE001 - raised again by take, in the caller's thread
            self._channel.fail(error)

    def take(self, context: VideoContext) -> list[Frame] | None:
        """Return the next batch, all lead-in or none of it, or ``None`` after the last one."""
        self._looks = any(frame.looked_at for frame in self._taken)
        frames = self._channel.get(idle=context.checkpoint)
        self._taken = frames or []
        return frames

    def __enter__(self) -> Self:
        """Begin."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the thread; after an error at once."""
        self._channel.leave()
        if error is not None:
            self._decoder.kill()
        self._thread.join()


@dataclass(slots=True)
class Sink:
    """The thread that encodes one batch behind.

    The encoder starts at once, so that it is ready when the first frame is.
    """

    source: Path
    destination: Path
    index: VideoIndex
    encoding: Encoding
    context: VideoContext
    segment: Segment | None = None
    written: list[int] = field(default_factory=list)  # pts of what was encoded
    _channel: Channel[list[tuple[int, Frame | Pixels]]] = field(
        default_factory=lambda: Channel(depth=1)
    )
    _encoder: Encoder | None = None
    _thread: threading.Thread | None = None
    _error: Exception | None = None

    def put(self, frames: Sequence[Frame], pictures: Sequence[Frame | Pixels]) -> None:
        """Hand over one batch; raises what the encoder failed with."""
        if self._thread is None:
            self._begin(frames[0].pts)
        pairs = [(frame.pts, made) for frame, made in zip(frames, pictures, strict=True)]
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

    @property
    def _expected(self) -> int:
        return self.segment.start_pts if self.segment else self.index.pts[0]

    def _prepare(self, first_pts: int) -> Encoder:
        # In this thread: the process dies with the thread that started it.
        return Encoder(
            self.source,
            self.destination,
            index=self.index,
            first_pts=first_pts,
            encoding=self.encoding,
            segment=self.segment,
        )

    def _begin(self, first_pts: int) -> None:
        assert self._encoder is not None  # noqa: S101 - entered
        if first_pts != self._expected:  # what was to come first cannot be decoded
            self._encoder.__exit__(None, None, None)
            self._encoder = self._prepare(first_pts)
        self._thread = threading.Thread(target=self._write, name="video-encode", daemon=True)
        self._thread.start()

    def _write(self) -> None:
        assert self._encoder is not None  # noqa: S101 - started together
        try:
            while pairs := self._channel.get():
                for pts, picture in pairs:
                    self._encoder.write(pts, picture)
            self._encoder.finish()
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
            self._channel.leave()

    def _raise(self) -> None:
        if self._error:
            raise self._error

    def __enter__(self) -> Self:
        """Start the encoder and return the sink itself."""
        self._encoder = self._prepare(self._expected)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End thread and process; after an error at once."""
        assert self._encoder is not None  # noqa: S101 - entered
        self._channel.end()
        if error is not None:
            self._encoder.kill()
        if self._thread:
            self._thread.join()
        with suppress(BrokenPipeError):
            self._encoder.__exit__(kind, error, trace)
