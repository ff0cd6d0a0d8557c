"""Into how many segments a video is cut, and what each may need. Pure."""

from collections.abc import Sequence

from app.jobs.segment_record import PlannedSegment
from engines.spec import Segment

_OVERLAPS = 4  # a segment is at least so many times as long as what it computes in vain
_LEAST_BYTES = 1024 * 1024  # tables, headers


def wanted_segments(
    *, frames: int, ms_per_frame: float, overlap: int, asked: int | None, most: int, segment_s: int
) -> int:
    """How many segments; 1: the video stays one run.

    Args:
        frames: of the whole video.
        ms_per_frame: estimated compute time of one.
        overlap: frames before its own that each segment computes and drops.
        asked: by the caller of the job; it goes before the estimate.
        most: what the tenant may have.
        segment_s: aim for the compute time of one; what is shorter than one and a half of them is
            not cut, so a segment takes between three quarters and five quarters of it, longer
            where the overlap would be more than a quarter of its own frames. 0: no cut.
    """
    if asked is not None:
        return max(1, min(asked, most))
    if segment_s <= 0:
        return 1
    by_time = round(frames * ms_per_frame / (segment_s * 1000))
    by_overlap = frames // (_OVERLAPS * overlap) if overlap else most
    return max(1, min(by_time, by_overlap, most))


def planned(
    segments: Sequence[Segment], *, content: str, ms_per_frame: float, frame_bytes: float
) -> list[PlannedSegment]:
    """Segments as they are written.

    Args:
        segments: of one plan.
        content: a digest of everything that the results depend on.
        ms_per_frame: estimated compute time.
        frame_bytes: disk that the result of one may take.
    """
    return [
        PlannedSegment(
            number=each.number,
            first_frame=each.first_frame,
            frames=each.frames,
            start_pts=each.start_pts,
            end_pts=each.end_pts,
            object_name=f"{each.number}-{content[:16]}",
            estimated_ms=max(1, round(each.frames * ms_per_frame)),
            work_bytes=work_bytes(each.frames, frame_bytes),
        )
        for each in segments
    ]


def work_bytes(frames: int, frame_bytes: float) -> int:
    """Disk that a run over so many frames may need for its result, bytes."""
    return _LEAST_BYTES + round(frames * frame_bytes)
