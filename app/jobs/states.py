"""The life of a job as a table: which status may follow which.

Pure data. ``app.jobs.service`` is the only writer and turns each arrow into one conditional UPDATE.
"""

from enum import StrEnum


class JobStatus(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # committed with its hold; waits for a worker
    STARTING = "starting"  # claimed under a lease; models load
    PROCESSING = "processing"  # the engine works on pixels
    FINALIZING = "finalizing"  # outputs are being stored and checked
    SUCCEEDED = "succeeded"  # outputs stored, usage recorded
    FAILED = "failed"  # gave up with an error; nothing is charged
    CANCELED = "canceled"  # stopped on request; the work measured so far is charged
    EXPIRED = "expired"  # missed its start deadline; nothing is charged


class SegmentStatus(StrEnum):
    """Where a segment of a long video stands; see ``app.jobs.segments``."""

    WAITING = "waiting"  # for a worker, for the first time or again
    RUNNING = "running"  # claimed under a lease of its own
    DONE = "done"  # its result is stored and counted
    CANCELED = "canceled"  # stopped on request; what it did until then counts
    DROPPED = "dropped"  # its job ended without it


class Priority(StrEnum):
    """The class a job waits in; Celery and Redis see the number."""

    INTERACTIVE = "interactive"  # somebody watches a spinner
    NORMAL = "normal"  # the default
    BULK = "bulk"  # big batches that may wait
    NIGHTLY = "nightly"  # whenever nothing else does


PRIORITY_LEVELS: dict[Priority, int] = {
    Priority.INTERACTIVE: 0,
    Priority.NORMAL: 3,
    Priority.BULK: 6,
    Priority.NIGHTLY: 9,
}

TRANSITIONS: dict[JobStatus, frozenset[JobStatus]] = {
    JobStatus.QUEUED: frozenset(
        {JobStatus.STARTING, JobStatus.CANCELED, JobStatus.EXPIRED, JobStatus.FAILED}
    ),
    JobStatus.STARTING: frozenset(
        {JobStatus.PROCESSING, JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELED}
    ),
    JobStatus.PROCESSING: frozenset(
        {JobStatus.FINALIZING, JobStatus.QUEUED, JobStatus.FAILED, JobStatus.CANCELED}
    ),
    JobStatus.FINALIZING: frozenset(
        {
            JobStatus.SUCCEEDED,
            JobStatus.PROCESSING,  # a segment's result is gone and is made again
            JobStatus.QUEUED,
            JobStatus.FAILED,
            JobStatus.CANCELED,
        }
    ),
    JobStatus.SUCCEEDED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELED: frozenset(),
    JobStatus.EXPIRED: frozenset(),
}

TERMINAL = frozenset(status for status, following in TRANSITIONS.items() if not following)
LEASED = frozenset({JobStatus.STARTING, JobStatus.PROCESSING, JobStatus.FINALIZING})


def sources_of(target: JobStatus) -> frozenset[JobStatus]:
    """The statuses from which ``target`` may be reached."""
    return frozenset(status for status, following in TRANSITIONS.items() if target in following)
