"""What happened to a job so far, as numbered events. Pure: the same facts give the same events.

Nothing is stored for it: the job's row and its attempts already say what there is to tell, so a
job that nobody watches costs nothing, and a stream that broke is continued from its last number.
What a job only passed through (it was ``finalizing`` for a moment) is told live and not repeated.

An event's number is ``STEPS * attempt`` plus its place inside the attempt; it only grows. Progress
is a state, not a history: it is identified by the number of the step it belongs to and by how much
is done.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from app.jobs.record import JobRow
from app.jobs.states import LEASED, TERMINAL, JobStatus
from app.timestamps import rfc3339, rfc3339_or_none

STEPS: Final = 10  # places inside one attempt
_PLACES: Final = {
    JobStatus.QUEUED: 0,
    JobStatus.STARTING: 1,
    JobStatus.PROCESSING: 2,
    JobStatus.FINALIZING: 3,
}
_LOST: Final = 4  # the attempt ended without a result
_AGAIN: Final = 5  # and the job waits for the next one
_END: Final = 9
_ID: Final = re.compile(r"(\d{1,9})(?:\.(\d{1,12}))?")


class EventKind(StrEnum):
    """The ``event:`` field of the stream; public names."""

    STATUS = "status"  # the job is somewhere else in its life
    PROGRESS = "progress"  # how far it is, or how many go first
    LOG = "log"  # a line for people


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run of a job, as it is told."""

    number: int
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: Mapping[str, Any] | None  # code, detail, retryable


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a listener is: the step, and how much was done when it heard last."""

    step: int = -1
    done: int = -1

    @classmethod
    def parse(cls, text: str | None) -> "Position":
        """Read a ``Last-Event-ID``; whatever we never sent means the beginning."""
        found = _ID.fullmatch(text or "")
        if found is None:
            return cls()
        return cls(int(found[1]), -1 if found[2] is None else int(found[2]))

    def __str__(self) -> str:
        """The ``id:`` field."""
        return str(self.step) if self.done < 0 else f"{self.step}.{self.done}"


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event; ``data`` is JSON-ready."""

    position: Position
    kind: EventKind
    data: Mapping[str, Any]


def is_over(job: JobRow) -> bool:
    """Whether nothing more will happen: the job ended and its price is booked."""
    return job["status"] in TERMINAL and job["settled_at"] is not None


def end_of(job: JobRow) -> Position:
    """The position of a job's last event."""
    return Position(STEPS * job["attempt"] + _END)


def story(job: JobRow, attempts: Sequence[Attempt]) -> list[JobEvent]:
    """Everything that can be told of a job, oldest first, without the end of a settled one."""
    events = [_status(0, JobStatus.QUEUED, 0, job["created_at"])]
    for each in sorted(attempts, key=lambda attempt: attempt.number):
        events += _of_attempt(each, job)
    if job["status"] in LEASED:
        events += _now(job)
    return events


def news(job: JobRow, attempts: Sequence[Attempt], *, since: Position) -> list[JobEvent]:
    """The part of the story that a listener at ``since`` has not heard."""
    return [event for event in story(job, attempts) if event.position > since]


def _of_attempt(attempt: Attempt, job: JobRow) -> list[JobEvent]:
    base = STEPS * attempt.number
    started = base + _PLACES[JobStatus.STARTING]
    events = [_status(started, JobStatus.STARTING, attempt.number, attempt.started_at)]
    is_last = attempt.number == job["attempt"]
    was_repeated = not is_last or job["status"] == JobStatus.QUEUED
    if attempt.finished_at is not None and was_repeated:
        error = attempt.error or {}
        reason = error.get("detail") or "its worker was lost"
        data = {
            "attempt": attempt.number,
            "at": rfc3339(attempt.finished_at),
            "code": error.get("code"),
            "message": f"attempt {attempt.number} ended without a result: {reason}",
        }
        events.append(JobEvent(Position(base + _LOST), EventKind.LOG, data))
        queued = _status(base + _AGAIN, JobStatus.QUEUED, attempt.number, attempt.finished_at)
        events.append(queued)
    return events


def _now(job: JobRow) -> list[JobEvent]:
    """Where a running job is at this moment."""
    status = JobStatus(job["status"])
    step = STEPS * job["attempt"] + _PLACES[status]
    events = []
    if status is not JobStatus.STARTING:
        events.append(_status(step, status, job["attempt"], None))
    if job["progress_total"] > 0:
        position = Position(step, job["progress_done"])
        events.append(JobEvent(position, EventKind.PROGRESS, progress_of(job)))
    return events


def progress_of(job: JobRow) -> dict[str, Any]:
    """How far a job is, with what follows from it: percent, and seconds to go at this speed."""
    done, total, fps = job["progress_done"], job["progress_total"], job["progress_fps"]
    return {
        "done": done,
        "total": total,
        "unit": job["progress_unit"],
        "fps": fps,
        "percent": round(100 * min(done, total) / total, 1) if total else None,
        "remaining_s": round(max(0, total - done) / fps, 1) if fps else None,
        "attempt": job["attempt"],
    }


def waiting(job: JobRow, position: int) -> JobEvent:
    """How many jobs go first; belongs to the step of waiting and needs no replay."""
    attempt = job["attempt"]
    step = STEPS * attempt + _AGAIN if attempt else 0
    data = {"queue_position": position, "attempt": attempt}
    return JobEvent(Position(step), EventKind.PROGRESS, data)


def ending(job: JobRow, view: Mapping[str, Any]) -> JobEvent:
    """The last event: the final status, with the whole job as ``GET /v1/jobs/{id}`` shows it."""
    data = {
        "status": job["status"],
        "attempt": job["attempt"],
        "at": rfc3339_or_none(job["finished_at"]),
        "job": view,
    }
    return JobEvent(end_of(job), EventKind.STATUS, data)


def _status(step: int, status: JobStatus, attempt: int, at: datetime | None) -> JobEvent:
    data = {"status": status.value, "attempt": attempt, "at": rfc3339_or_none(at)}
    return JobEvent(Position(step), EventKind.STATUS, data)
