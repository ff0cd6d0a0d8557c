"""Segments of long videos as values: planned, claimed, done, lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.jobs.errors import StaleFenceError
from app.jobs.record import Claimed
from engines.spec import Segment, UsageReport


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment as it is to be written."""

    number: int
    first_frame: int
    frames: int
    start_pts: int
    end_pts: int | None
    object_name: str  # of its result in storage: equal names hold equal results
    estimated_ms: int
    work_bytes: int  # of disk that the run may need


@dataclass(frozen=True, slots=True)
class ClaimedSegment:
    """What a worker needs to run the segment that it now owns."""

    job: Claimed  # its attempt is the one that cut the video, no fence of anything here
    segment: Segment
    attempt: int  # the fence of every later write
    object_name: str

    @property
    def fence(self) -> dict[str, str | int]:
        """What every later write names."""
        number = self.segment.number
        return {"job_id": self.job.job_id, "number": number, "attempt": self.attempt}

    @property
    def stale(self) -> StaleFenceError:
        """The refusal of a write when the lease was lost."""
        name = f"segment {self.segment.number} of {self.job.job_id}"
        return StaleFenceError(job_id=name, attempt=self.attempt)


@dataclass(frozen=True, slots=True)
class Part:
    """A segment's result as it is kept: objects in storage, data, what was measured."""

    files: Sequence[Mapping[str, Any]]
    data: Mapping[str, Any]
    usage: UsageReport
    made_by: int  # the attempt that computed it; its wall time bounds what is charged


@dataclass(frozen=True, slots=True)
class LostSegment:
    """A segment whose lease ran out."""

    job_id: str
    number: int
    attempt: int
