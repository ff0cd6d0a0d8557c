"""Reading jobs; nothing here writes. Rows are keyed by column names and rendered by ``view``."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import NotFoundError
from app.jobs.record import JobRow, all_rows, one_row
from app.jobs.states import PRIORITY_LEVELS, JobStatus, Priority
from app.jobs.story import Attempt

LIMIT_MAX: Final = 100

_BY_ID = text("SELECT * FROM job WHERE id = :job_id")
_OWN = text("SELECT * FROM job WHERE id = :job_id AND tenant_id = :tenant_id")
_SETTLED = text("SELECT settled_at IS NOT NULL FROM job WHERE id = :job_id")
_ATTEMPTS = text(
    "SELECT number, started_at, finished_at, outcome, error FROM attempt"
    " WHERE job_id = :job_id ORDER BY number"
)
_UNFINISHED = text("SELECT id FROM job WHERE id = ANY(:job_ids) AND finished_at IS NULL")
# Two ranges of the partial index on (priority, id) of queued jobs.
_AHEAD = text(
    "SELECT (SELECT count(*) FROM job WHERE status = 'queued' AND priority = ANY(:sooner))"
    " + (SELECT count(*) FROM job WHERE status = 'queued' AND priority = :priority AND id < :id)"
)
_DEPTHS = text(
    "SELECT engine, priority, count(*) AS jobs,"
    " extract(epoch FROM clock_timestamp() - min(created_at))::float8 AS oldest_s"
    " FROM job WHERE status = 'queued' GROUP BY engine, priority ORDER BY engine, priority"
)
_RUNNING = text("SELECT count(*) FROM job WHERE status IN ('starting','processing','finalizing')")
_TAGGED = (
    "NOT EXISTS (SELECT FROM jsonb_each_text(CAST(:metadata AS jsonb)) AS asked"
    " WHERE metadata ->> asked.key IS DISTINCT FROM asked.value)"
)


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of a tenant to list; None: no matter."""

    status: JobStatus | None = None
    engine: str | None = None
    model: str | None = None  # name, or name@version
    project: str | None = None  # its name or id
    batch: str | None = None  # id of the batch it came in
    created_after: datetime | None = None
    created_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)  # compared as text


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of jobs, newest first; pass ``next_cursor`` as ``after`` for the next one."""

    jobs: tuple[JobRow, ...]
    next_cursor: str | None

    @property
    def has_more(self) -> bool:
        """Whether there is a next page."""
        return self.next_cursor is not None


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """Jobs that wait, by engine and priority."""

    engine: str
    priority: str
    jobs: int
    oldest_s: float  # age of the oldest


def get(session: Session, *, tenant_id: str, job_id: str) -> JobRow:
    """One job of a tenant; unknown and foreign ids are the same ``NotFoundError``."""
    row = one_row(session.execute(_OWN, {"job_id": job_id, "tenant_id": tenant_id}))
    if row is None:
        raise NotFoundError("There is no such job.", code="job_not_found")
    return row


def by_id(session: Session, *, job_id: str) -> JobRow | None:
    """A job whoever owns it; for the platform's own processes."""
    return one_row(session.execute(_BY_ID, {"job_id": job_id}))


def attempts(session: Session, *, job_id: str) -> list[Attempt]:
    """The runs of a job, in order."""
    return [Attempt(**row) for row in session.execute(_ATTEMPTS, {"job_id": job_id}).mappings()]


def is_settled(session: Session, *, job_id: str) -> bool:
    """Whether the job has ended and its price is booked: what ``Prefer: wait`` waits for."""
    return bool(session.execute(_SETTLED, {"job_id": job_id}).scalar_one_or_none())


def queue_position(session: Session, *, job: JobRow) -> int | None:
    """How many queued jobs of all tenants go first, plus one; None unless it is queued.

    By class and age; fair dispatch between tenants may still take a later job sooner.
    """
    if job["status"] != JobStatus.QUEUED:
        return None
    level = PRIORITY_LEVELS[Priority(job["priority"])]
    sooner = [each.value for each, number in PRIORITY_LEVELS.items() if number < level]
    ahead = session.execute(
        _AHEAD, {"sooner": sooner, "priority": job["priority"], "id": job["id"]}
    ).scalar_one()
    return int(ahead) + 1


def list_jobs(
    session: Session,
    *,
    tenant_id: str,
    wanted: JobFilter | None = None,
    limit: int = 20,
    after: str | None = None,
) -> JobPage:
    """A tenant's jobs, newest first; ``limit`` is clamped to 1..100."""
    limit = max(1, min(limit, LIMIT_MAX))
    conditions = _conditions(wanted or JobFilter())
    values: dict[str, Any] = {"tenant_id": tenant_id, "limit": limit + 1}
    where = ["tenant_id = :tenant_id"]
    for condition, name, value in conditions:
        where.append(condition)
        values[name] = value
    if after is not None:
        where.append("id < :after")
        values["after"] = after
    statement = text(
        f"SELECT * FROM job WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"  # noqa: S608 - constants
    )
    rows = all_rows(session.execute(statement, values))
    more = len(rows) > limit
    jobs = tuple(rows[:limit])
    return JobPage(jobs=jobs, next_cursor=jobs[-1]["id"] if more else None)


def _conditions(wanted: JobFilter) -> list[tuple[str, str, object]]:
    """SQL with one named value each, for the filters that are set."""
    metadata = json.dumps(dict(wanted.metadata)) if wanted.metadata else None
    possible: list[tuple[str, str, object]] = [
        ("status = :status", "status", wanted.status.value if wanted.status else None),
        ("engine = :engine", "engine", wanted.engine),
        ("(model = :model OR split_part(model, '@', 1) = :model)", "model", wanted.model),
        ("(project = :project OR project_id = :project)", "project", wanted.project),
        ("batch_id = :batch", "batch", wanted.batch),
        ("created_at > :created_after", "created_after", wanted.created_after),
        ("created_at < :created_before", "created_before", wanted.created_before),
        (_TAGGED, "metadata", metadata),
    ]
    return [each for each in possible if each[2] is not None]


def queue_depths(session: Session) -> list[QueueDepth]:
    """How much waits where, for the operator and the metrics."""
    return [QueueDepth(**row) for row in session.execute(_DEPTHS).mappings()]


def running_count(session: Session) -> int:
    """How many jobs are under a lease now."""
    return int(session.execute(_RUNNING).scalar_one())


def unfinished(session: Session, *, job_ids: Sequence[str]) -> list[str]:
    """Those of the given jobs that wait or run."""
    return list(session.scalars(_UNFINISHED, {"job_ids": list(job_ids)}))
