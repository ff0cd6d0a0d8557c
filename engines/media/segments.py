"""A video in parts: where it is cut, and how the parts become one video again."""

from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from subprocess import TimeoutExpired

import ffmpeg

from engines.errors import EngineFaultError
from engines.media.containers import AVI, MP4, MPEGTS
from engines.media.encode import copied_tracks, writing_failed
from engines.media.encoding import (
    Encoding,
    copy_options,
    file_options,
    output_container,
    retiming,
)
from engines.media.ffmpeg import Bounds, Process, command
from engines.media.index import VideoIndex
from engines.media.verify import SourceSound, Stream, read_stream, verify_copy
from engines.media.video import VideoContext, VideoWork, kept_less
from engines.spec import Segment

__all__ = ["Segment", "check_complete", "join_segments", "plan_segments"]

MOST_SEGMENTS = 64
_HEARTBEAT_S = 0.5
# Their demuxers find a place by bytes or by packets without times of their own: no exact entry.
_ENTERED_AT_THE_BEGINNING = frozenset({AVI.name, MPEGTS.name})


def plan_segments(
    index: VideoIndex, *, frames_per_segment: int, most: int = MOST_SEGMENTS
) -> tuple[Segment, ...]:
    """Cut a video at key frames into parts of about equal length.

    A part has ``frames_per_segment`` frames at most where key frames allow it and ``most`` is not
    reached; a shorter video, one with too few key frames and one that can only be read from its
    beginning (AVI, MPEG-TS, hidden frames) is one segment.
    """
    if frames_per_segment < 1 or most < 1:
        raise ValueError("a segment has at least one frame, a plan at least one segment")
    wanted = min(most, -(-index.frames // frames_per_segment))
    if index.container.name in _ENTERED_AT_THE_BEGINNING or not index.exact:
        wanted = 1
    cuts = [0, *_cuts(index, wanted), index.frames]
    return tuple(
        Segment(
            number=number,
            of=len(cuts) - 1,
            first_frame=first,
            frames=after - first,
            start_pts=index.pts[first],
            end_pts=index.pts[after] if after < index.frames else None,
        )
        for number, (first, after) in enumerate(pairwise(cuts))
    )


def _cuts(index: VideoIndex, wanted: int) -> list[int]:
    """Return the frames that later segments begin with: the key frames nearest to equal parts."""
    # Frames before the first key frame may need what was cut away: alone they would be no part.
    places = [bisect_left(index.pts, key) for key in index.keys[1:]]
    cuts: list[int] = []
    for number in range(1, wanted):
        ideal = number * index.frames / wanted
        after = bisect_left(places, ideal)
        near = places[max(0, after - 1) : after + 1]
        if near and (cut := min(near, key=lambda place: abs(place - ideal))) not in cuts:
            cuts.append(cut)
    return cuts


def join_segments(
    source: Path,
    parts: Sequence[Path],
    destination: Path,
    *,
    index: VideoIndex,
    encoding: Encoding,
    context: VideoContext,
    lost: int = 0,
) -> VideoWork:
    """Write the whole video from its parts, in order, as ``transform_video`` would have.

    Sound, subtitles and chapters come from ``source`` byte for byte; no picture is encoded again.
    ``lost`` are frames that the parts could not decode: any other gap is a missing part. On any
    error the destination does not exist.

    Raises:
        EngineFaultError: the parts do not fit each other or the index (``segments_mismatch``), or
            the result is not what was asked for (``video_verify_failed``).
        InvalidInputError: ``container_unsuitable``.
        CanceledError, ExhaustedError: as ``transform_video``.
    """
    container = output_container(index, encoding.container)
    pts = _fitting([read_stream(part, MP4) for part in parts], index, lost)
    firsts = [each[0] for each in pts]
    written = list(chain.from_iterable(pts))
    listing = destination.with_name(f"{destination.name}.txt")
    try:
        listing.write_text(_concat(parts, firsts, index), encoding="utf-8")
        with SourceSound(source, index) as sound:
            _write(
                source,
                listing,
                destination,
                index=index,
                first_pts=written[0],
                encoding=encoding,
                context=context,
            )
            verify_copy(
                destination, container, index=index, pts=written, sound=sound, context=context
            )
    except BaseException:
        destination.unlink(missing_ok=True)
        raise
    finally:
        listing.unlink(missing_ok=True)
    seconds, notes = index.duration_s, kept_less(index)
    return VideoWork(len(written), seconds, index.width, index.height, lost, container, notes)


def _fitting(streams: Sequence[Stream], index: VideoIndex, lost: int) -> list[tuple[int, ...]]:
    """Return the times of each part in ticks of the index; they must be one video's."""
    if len({stream.extradata for stream in streams}) != 1:
        raise _mismatch("its parts were encoded in different ways")
    if any(stream.time_base != Fraction(1, index.time_base.denominator) for stream in streams):
        raise _mismatch("the clock of a part is not that of the source")
    ticks = index.time_base.numerator
    pts = [tuple(each // ticks for each in stream.pts) for stream in streams]
    every = list(chain.from_iterable(pts))
    if any(after <= before for before, after in pairwise(every)):
        raise _mismatch("its parts are not in order, or the same part is there twice")
    if index.exact and set(every) - set(index.pts):
        raise _mismatch("a part has frames that the source has not")
    check_complete(index, frames=len(every), lost=lost)
    return pts


def check_complete(index: VideoIndex, *, frames: int, lost: int) -> None:
    """Refuse parts that together are not the whole; raises ``segments_mismatch``."""
    if index.exact and frames + lost != index.frames:
        raise _mismatch(f"its parts have {frames} of {index.frames} frames, {lost} were lost")


def _mismatch(what: str) -> EngineFaultError:
    return EngineFaultError(f"the video cannot be joined: {what}", code="segments_mismatch")


def _concat(parts: Sequence[Path], firsts: Sequence[int], index: VideoIndex) -> str:
    """Return the list of the parts for ffmpeg, each with its exact length.

    Without lengths variable rates drift. They are whole microseconds: each is the difference of two
    rounded times, so that rounding does not add up.
    """
    micros = [round((first - firsts[0]) * index.time_base * 1_000_000) for first in firsts]
    lengths = [f"duration {after - before}us" for before, after in pairwise(micros)]
    files = [f"file 'file:{_quoted(part)}'" for part in parts]
    pairs = zip(files, [*lengths, ""], strict=True)
    return "ffconcat version 1.0\n" + "".join(f"{file}\n{length}\n" for file, length in pairs)


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("'", "'\\''")


def _write(
    source: Path,
    listing: Path,
    destination: Path,
    *,
    index: VideoIndex,
    first_pts: int,
    encoding: Encoding,
    context: VideoContext,
) -> None:
    # Our own files: the list is the only playlist that is ever opened.
    only = {"protocol_whitelist": "file", "format_whitelist": "concat,mov"}
    joined = ffmpeg.input(f"file:{listing}", f="concat", safe=0, **only)
    output = ffmpeg.output(
        joined["v:0"],
        *copied_tracks(source, index),
        f"file:{destination}",
        **{"c:v": "copy", "bsf:v": retiming(index, first_pts)},
        **copy_options(index),
        **file_options(index, encoding),
    )
    with Process(output.compile(cmd=[*command(), "-y"]), bounds=Bounds()) as process:
        if status := _wait(process, context):
            raise writing_failed(status, process.messages.text())


def _wait(process: Process, context: VideoContext) -> int:
    while True:
        try:
            return process.wait(_HEARTBEAT_S)
        except TimeoutExpired:
            context.checkpoint()
