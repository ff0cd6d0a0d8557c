"""A video through an engine: decode, process in batches, encode, in bounded memory.

Three things happen at once: a thread decodes, the caller's thread processes, a thread encodes.
Between them waits one batch each, so memory does not depend on the length of the video.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engines.errors import EngineFaultError, InvalidInputError
from engines.media.containers import MP4, Container
from engines.media.decode import Decoder, Frame, Span
from engines.media.encoding import Encoding, output_container
from engines.media.index import VideoIndex
from engines.media.planes import Pixels
from engines.media.stages import Feed, Sink, VideoContext
from engines.media.verify import SourceSound, verify_copy, verify_part
from engines.memory import give_back_freed
from engines.spec import OutputFile, Segment

__all__ = ["Process", "VideoContext", "VideoWork", "read_frames", "scan_video", "transform_video"]

_BATCH_BYTES = 64 * 1024 * 1024  # of pixels; five batches are alive at the same time
_FRAME_BYTES = 4.5  # per pixel: planes, and BGR for whoever looks
_FEW_LOST = 8  # frames before the first key frame that no decoder can show
_LOST_SHARE = 0.05

# A frame itself, given back in place of a picture, is stored as it was, without conversion.
Process = Callable[[Sequence[Frame]], Sequence[Frame | Pixels]]
Look = Callable[[Sequence[Frame]], None]


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

    def described(self) -> dict[str, Any]:
        """What the result of a job says of the video itself."""
        return {
            "frames": self.frames,
            "frames_lost": self.frames_lost,
            "duration_s": round(self.seconds, 6),
            "width": self.width,
            "height": self.height,
            "notes": list(self.notes),
        }

    def file(self, path: Path, *, name: str) -> OutputFile:
        """What was encoded, to give back; ``name`` is what the customer sees, without an ending."""
        assert self.container is not None  # noqa: S101 - the caller had it encoded
        return OutputFile(path, self.container.media_type, f"{name}{path.suffix}")


def read_frames(path: Path, index: VideoIndex) -> Iterator[Frame]:
    """Yield every picture of a video in the order they are shown, one at a time in memory.

    Raises:
        InvalidInputError: ``video_damaged``, ``video_size_changes``, ``media_unreadable`` and
            ``video_timestamps_invalid``, possibly after some pictures.
    """
    with Decoder(path, index) as decoder:
        yield from decoder.frames()
        _finish(decoder, index, index.frames)


def scan_video(
    source: Path,
    *,
    index: VideoIndex,
    look: Look,
    batch: int,
    context: VideoContext,
    segment: Segment | None = None,
    lead_in: int = 0,
) -> VideoWork:
    """Show every frame to ``look`` in batches and write nothing; raises as ``read_frames``.

    With ``segment`` these are its frames alone, after ``lead_in`` frames before it.
    """
    frames = segment.frames if segment else index.frames
    with Decoder(source, index, span=_span(index, segment, lead_in)) as decoder:
        done = _drive(decoder, index, look, context, batch=batch, of=frames)
        lost = _finish(decoder, index, frames)
    return VideoWork(done, _seconds(index, segment), index.width, index.height, lost)


def transform_video(
    source: Path,
    destination: Path,
    *,
    index: VideoIndex,
    process: Process,
    batch: int,
    context: VideoContext,
    encoding: Encoding | None = None,
    segment: Segment | None = None,
    lead_in: int = 0,
) -> VideoWork:
    """Write ``source`` with every frame replaced by what ``process`` makes of it.

    Each frame keeps its exact timestamp, sound and subtitles are copied byte for byte, the shape
    and colour of pixels are kept, rotation is applied and its tag cleared. ``process`` gets up to
    ``batch`` frames (fewer if they are large) and returns for each a picture of the same size, or
    the frame itself where nothing changes; it runs in the calling thread. The container of the
    result is ``output_container``, whatever ``destination`` is called. On any error the
    destination does not exist.

    With ``segment`` the result is that part: an MP4 of pictures alone, each at its time in the
    whole, for ``join_segments``. ``process`` gets ``lead_in`` frames before it too, marked so, in
    batches of their own; what it makes of them is dropped.

    Raises:
        InvalidInputError: as ``read_frames``; ``container_unsuitable``.
        CanceledError: from ``context.checkpoint``, which is called at least every half second.
        ExhaustedError: memory or disk ran out here.
        EngineFaultError: the encoder failed, ``process`` broke its promise, or the result is not
            what was asked for (codes ``video_encode_failed``, ``frames_mismatch``,
            ``video_verify_failed``).
    """
    chosen = encoding or Encoding()
    container = MP4 if segment else output_container(index, chosen.container)
    frames = segment.frames if segment else index.frames
    try:
        with ExitStack() as stack:
            span = _span(index, segment, lead_in)
            decoder = stack.enter_context(Decoder(source, index, span=span))
            sink = stack.enter_context(Sink(source, destination, index, chosen, context, segment))
            sound = None if segment else stack.enter_context(SourceSound(source, index))

            def handle(some: Sequence[Frame]) -> None:
                pictures = _checked(process(some), some)
                if not some[0].lead_in:
                    sink.put(some, pictures)

            done = _drive(decoder, index, handle, context, batch=batch, of=frames)
            lost = _finish(decoder, index, frames)
            sink.finish()
            if sound is None:
                verify_part(destination, index=index, pts=sink.written)
            else:
                verify_copy(
                    destination,
                    container,
                    index=index,
                    pts=sink.written,
                    sound=sound,
                    context=context,
                )
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    seconds, notes = _seconds(index, segment), kept_less(index)
    return VideoWork(done, seconds, index.width, index.height, lost, container, notes)


def _span(index: VideoIndex, segment: Segment | None, lead_in: int) -> Span | None:
    if segment is None:
        return None
    first = max(0, segment.first_frame - lead_in)
    own_from = segment.start_pts if first < segment.first_frame else None
    return Span(first, index.pts[first], segment.end_pts, own_from)


def _seconds(index: VideoIndex, segment: Segment | None) -> float:
    if segment is None:
        return index.duration_s
    end = segment.end_pts
    if end is None:
        end = index.pts[-1] + index.last_duration
    return float((end - segment.start_pts) * index.time_base)


def _drive(
    decoder: Decoder, index: VideoIndex, handle: Look, context: VideoContext, *, batch: int, of: int
) -> int:
    """Hand all frames to ``handle`` while a thread decodes ahead; return how many there were."""
    ahead = max(1, min(batch, int(_BATCH_BYTES / (index.width * index.height * _FRAME_BYTES))))
    done = 0
    give_back_freed()  # what the threads of the video before kept: 64 parts took a third more
    with Feed(decoder, ahead) as feed:
        while frames := feed.take(context):
            context.checkpoint()
            handle(frames)
            if not frames[0].lead_in:
                done += len(frames)
                context.progress(done, max(done, of), "frames")
    return done


def _checked(pictures: Sequence[Frame | Pixels], frames: Sequence[Frame]) -> list[Frame | Pixels]:
    """Insist on one picture per frame, of the same size."""
    shape = (frames[0].height, frames[0].width, 3)
    fits = len(pictures) == len(frames) and all(
        picture is frame
        if isinstance(picture, Frame)
        else picture.shape == shape and picture.dtype == np.uint8
        for picture, frame in zip(pictures, frames, strict=True)
    )
    if not fits:
        detail = f"an engine must return {len(frames)} pictures of shape {shape}, 8 bits each"
        raise EngineFaultError(detail, code="frames_mismatch")
    return [
        picture if isinstance(picture, Frame) else np.ascontiguousarray(picture)
        for picture in pictures
    ]


def _finish(decoder: Decoder, index: VideoIndex, expected: int) -> int:
    """Return how many frames were lost to damage; refuse when they are many."""
    decoder.finish()
    lost = max(0, expected - decoder.decoded)
    if index.exact and lost > max(_FEW_LOST, expected * _LOST_SHARE):
        detail = f"{lost} of {expected} frames cannot be decoded: upload an undamaged copy"
        raise InvalidInputError(detail, code="video_damaged")
    return lost if index.exact else 0


def kept_less(index: VideoIndex) -> tuple[str, ...]:
    """Say what a result keeps less of than its source had."""
    notes = []
    if index.picture.bit_depth > 8:  # noqa: PLR2004 - bits
        notes.append(f"{index.picture.bit_depth}-bit colour was processed and stored in 8 bits")
    if index.picture.has_alpha:
        notes.append("transparency was dropped")
    if "first" in index.picture.field_order:
        notes.append("interlaced frames were stored as progressive")
    return tuple(notes)
