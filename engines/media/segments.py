"""A video in parts: where it is cut, and how the parts become one video again."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from engines.media.containers import AVI, MPEGTS
from engines.media.encode import Encoding
from engines.media.index import VideoIndex
from engines.media.video import VideoContext, VideoWork
from engines.spec import Segment

MOST_SEGMENTS = 64
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
    places = [bisect_left(index.pts, key) for key in index.keys if key > index.pts[0]]
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
) -> VideoWork:
    """Write the whole video from its parts, in order, as ``transform_video`` would have.

    Sound, subtitles and chapters come from ``source`` byte for byte. On any error the destination
    does not exist.

    Raises:
        EngineFaultError: the parts do not fit each other or the index (``segments_mismatch``), or
            the result is not what was asked for (``video_verify_failed``).
        CanceledError, ExhaustedError: as ``transform_video``.
    """
    raise NotImplementedError
