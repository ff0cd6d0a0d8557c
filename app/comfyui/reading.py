"""Prompts with their jobs, and where each stands. Reads only; ``prompts`` writes."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.jobs.record import JobRow, all_rows, one_row
from app.jobs.states import JobStatus

HISTORY_MAX: Final = 10_000  # as many as ComfyUI keeps
HISTORY_SHOWN: Final = 500  # unless more are asked for

_COLUMNS = (
    "id, sequence, number, client_id, extra_data, node_errors, outputs, job_ids, created_at,"
    " told_at, hidden_at"
)
_ONE = text("SELECT * FROM comfyui_prompt WHERE tenant_id = :tenant_id AND id = :prompt_id")
_NEWEST = text(
    "SELECT * FROM comfyui_prompt WHERE tenant_id = :tenant_id AND hidden_at IS NULL"
    " ORDER BY sequence DESC LIMIT :limit"
)
_UNTOLD = text(
    "SELECT * FROM comfyui_prompt WHERE tenant_id = :tenant_id AND told_at IS NULL"
    " ORDER BY sequence"
)
_WATCHED = text(
    f"SELECT {_COLUMNS}, NULL AS graph FROM comfyui_prompt"  # noqa: S608 - constants
    " WHERE tenant_id = :tenant_id AND told_at IS NULL"
    " AND NOT id = ANY(:parked) ORDER BY sequence"
)
_JOBS = text(
    "SELECT id, status, error, output, usage, created_at, started_at, finished_at, settled_at,"
    " progress_done, progress_total, tenant_id FROM job"
    " WHERE tenant_id = :tenant_id AND id = ANY(:job_ids)"
)
_DEVICES = text(
    "SELECT DISTINCT device FROM worker_heartbeat"
    " WHERE seen_at > clock_timestamp() - interval '1 minute' ORDER BY device"
)


class Phase(StrEnum):
    """Where a prompt stands; it has ended once every job is settled."""

    PENDING = "pending"  # no job was begun
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"  # a job was canceled


@dataclass(frozen=True, slots=True)
class Output:
    """One output node of a prompt, as it was planned when the prompt was accepted."""

    node: str
    nodes: tuple[str, ...]  # all that it needs and itself, in the order in which they run
    colour_node: str | None  # None: it shows an upload as it is
    colour_class: str | None
    job: str | None
    file: Mapping[str, str]  # {"filename", "subfolder", "type"}
    said: str | None  # what the client should know, such as another model


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt with the rows of its jobs."""

    row: Mapping[str, Any]
    jobs: Mapping[str, JobRow]

    @property
    def id(self) -> str:
        """The client's id."""
        return str(self.row["id"])

    @property
    def outputs(self) -> tuple[Output, ...]:
        """In the order of the graph."""
        return tuple(
            Output(**{**each, "nodes": tuple(each["nodes"])}) for each in self.row["outputs"]
        )

    @property
    def phase(self) -> Phase:
        """By its jobs alone, so that nothing has to be kept in step."""
        return phase_of([self.jobs[job_id] for job_id in self.row["job_ids"]])

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self.phase not in {Phase.PENDING, Phase.RUNNING}

    @property
    def started_at(self) -> datetime:
        """When its first job was begun, or else ended."""
        times = [job["started_at"] or job["finished_at"] for job in self.jobs.values()]
        created: datetime = self.row["created_at"]
        return min((time for time in times if time is not None), default=created)

    @property
    def ended_at(self) -> datetime:
        """When its last job ended."""
        times = [job["finished_at"] for job in self.jobs.values()]
        created: datetime = self.row["created_at"]
        return max((time for time in times if time is not None), default=created)

    def failed_job(self) -> JobRow | None:
        """The first job that gave no result."""
        for job_id in self.row["job_ids"]:
            if self.jobs[job_id]["status"] != JobStatus.SUCCEEDED:
                return self.jobs[job_id]
        return None

    def node_of(self, job_id: str) -> str:
        """The colouring node that became this job."""
        return next(str(out.colour_node) for out in self.outputs if out.job == job_id)


def phase_of(jobs: Sequence[JobRow]) -> Phase:
    """Where a prompt of these jobs stands. Pure."""
    if any(job["settled_at"] is None for job in jobs):
        is_begun = any(job["status"] != JobStatus.QUEUED for job in jobs)
        return Phase.RUNNING if is_begun else Phase.PENDING
    statuses = {job["status"] for job in jobs}
    if statuses & {JobStatus.FAILED, JobStatus.EXPIRED}:
        return Phase.FAILED
    return Phase.INTERRUPTED if JobStatus.CANCELED in statuses else Phase.SUCCEEDED


def get(session: Session, *, tenant_id: str, prompt_id: str) -> Prompt | None:
    """One prompt of a tenant, hidden or not."""
    row = one_row(session.execute(_ONE, {"tenant_id": tenant_id, "prompt_id": prompt_id}))
    return None if row is None else _with_jobs(session, tenant_id, [row])[0]


def newest(session: Session, *, tenant_id: str, limit: int) -> list[Prompt]:
    """Prompts that are not hidden, newest first, ended or not."""
    rows = session.execute(_NEWEST, {"tenant_id": tenant_id, "limit": min(limit, HISTORY_MAX)})
    return _with_jobs(session, tenant_id, all_rows(rows))


def unended(session: Session, *, tenant_id: str) -> list[Prompt]:
    """What waits or runs, in the order of arrival."""
    rows = all_rows(session.execute(_UNTOLD, {"tenant_id": tenant_id}))
    return [each for each in _with_jobs(session, tenant_id, rows) if not each.has_ended]


def watched(session: Session, *, tenant_id: str, parked: Collection[str]) -> list[Prompt]:
    """Prompts whose end was not told yet, without their graphs; ``parked`` ones are left out."""
    rows = session.execute(_WATCHED, {"tenant_id": tenant_id, "parked": list(parked)})
    return _with_jobs(session, tenant_id, all_rows(rows))


def devices(session: Session) -> list[str]:
    """What runs jobs now."""
    return list(session.scalars(_DEVICES))


def _with_jobs(session: Session, tenant_id: str, rows: Sequence[Mapping[str, Any]]) -> list[Prompt]:
    job_ids = [job_id for row in rows for job_id in row["job_ids"]]
    if not job_ids:
        return [Prompt(row, {}) for row in rows]
    found = session.execute(_JOBS, {"tenant_id": tenant_id, "job_ids": job_ids})
    jobs = {job["id"]: job for job in all_rows(found)}
    return [Prompt(row, {job_id: jobs[job_id] for job_id in row["job_ids"]}) for row in rows]
