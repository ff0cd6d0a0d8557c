"""Tables of jobs, attempts, idempotency keys, worker heartbeats and tenants' dispatch clocks."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class Job(Base):
    """What was asked, and how it stands. Only ``service`` and ``lifecycle`` here write it."""

    __tablename__ = "job"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    project_id: Mapped[str | None]
    project: Mapped[str | None]  # its name when the job was sent, so that a list needs no join
    api_key_id: Mapped[str]
    # No foreign key: rows of ``app.batches`` are written after those here.
    batch_id: Mapped[str | None]
    engine: Mapped[str]
    model: Mapped[str]  # always name@version, resolved at submit
    tenant_model_id: Mapped[str | None]  # set when `model` is one of the tenant's own
    params: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]]  # {"target": file id, "source": [file ids]}
    priority: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued")
    end_user: Mapped[str | None]
    # "metadata" is taken by SQLAlchemy on declarative classes; the column has the public name.
    tags: Mapped[dict[str, Any]] = mapped_column("metadata")
    webhook: Mapped[dict[str, Any] | None]  # {"url", "events", "secret" encrypted base64}
    consent: Mapped[bool] = mapped_column(default=False)
    consent_basis: Mapped[str | None]  # of a job with a source: request | contract
    request_id: Mapped[str | None]
    # False: the caller wants it computed anew
    use_cache: Mapped[bool] = mapped_column(default=True, server_default=text("true"))

    quote: Mapped[dict[str, Any]]  # {"tokens", "max_tokens", "rate_card", ...}
    hold_id: Mapped[str]
    estimated_ms: Mapped[int] = mapped_column(default=1000)  # fair dispatch counts in this

    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    start_deadline_at: Mapped[datetime | None]
    max_runtime_s: Mapped[int | None]
    segments_wanted: Mapped[int | None]  # what the caller asked for; null: by estimated time
    segments: Mapped[int | None]  # set once the job is in segments, see ``segment_models``
    segments_done: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    dispatched_at: Mapped[datetime | None]  # last put on the broker; null: not yet
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]  # when the outputs go
    settled_at: Mapped[datetime | None]

    attempt: Mapped[int] = mapped_column(default=0)  # the fence: a write with another number fails
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    cancel_requested_at: Mapped[datetime | None]

    progress_done: Mapped[int] = mapped_column(default=0)
    progress_total: Mapped[int] = mapped_column(default=0)
    progress_unit: Mapped[str] = mapped_column(default="")
    progress_fps: Mapped[float | None] = mapped_column(Float)

    output: Mapped[dict[str, Any] | None]  # {"files": [facts], "data": {...}}
    error: Mapped[dict[str, Any] | None]  # {"code", "detail", "retryable"}
    usage: Mapped[dict[str, Any] | None]  # null until settled
    event_sequence: Mapped[int] = mapped_column(default=0)

    __table_args__ = (
        CheckConstraint(
            "status IN ('queued','starting','processing','finalizing',"
            "'succeeded','failed','canceled','expired')",
            name="status",
        ),
        CheckConstraint("priority IN ('interactive','normal','bulk','nightly')", name="priority"),
        CheckConstraint(  # while its segments run they have leases and the job itself has none
            "(lease_expires_at IS NULL OR status IN ('starting','processing','finalizing'))"
            " AND (lease_expires_at IS NOT NULL OR segments IS NOT NULL"
            " OR NOT (status IN ('starting','processing','finalizing')))",
            name="lease_iff_running",
        ),
        CheckConstraint("segments_done <= coalesce(segments, 0)", name="segments"),
        Index(  # few: the dispatcher looks at all of them each second
            "ix_job_in_segments",
            "id",
            postgresql_where=text(
                "segments IS NOT NULL AND status IN ('starting','processing','finalizing')"
            ),
        ),
        CheckConstraint("consent_basis IN ('request','contract')", name="consent_basis"),
        Index("ix_job_tenant_id_id", "tenant_id", "id"),
        Index("ix_job_consented", "id", postgresql_where=text("consent_basis IS NOT NULL")),
        Index(
            "ix_job_batch_id_id",
            "batch_id",
            "id",
            postgresql_where=text("batch_id IS NOT NULL"),
        ),
        Index(
            "ix_job_succeeded",
            "tenant_id",
            "finished_at",
            postgresql_where=text("status = 'succeeded'"),
        ),
        Index("ix_job_queued", "priority", "id", postgresql_where=text("status = 'queued'")),
        Index(  # the dispatcher steps from lane to lane, however many jobs wait in one
            "ix_job_waiting",
            "priority",
            "tenant_id",
            "engine",
            "id",
            postgresql_where=text("status = 'queued' AND dispatched_at IS NULL"),
        ),
        Index(
            "ix_job_published",
            "engine",
            "dispatched_at",
            postgresql_where=text("status = 'queued' AND dispatched_at IS NOT NULL"),
        ),
        Index(
            "ix_job_leased",
            "lease_expires_at",
            postgresql_where=text("status IN ('starting','processing','finalizing')"),
        ),
        Index(
            "ix_job_start_deadline_at",
            "start_deadline_at",
            postgresql_where=text(
                "status = 'queued' AND started_at IS NULL AND start_deadline_at IS NOT NULL"
            ),
        ),
    )


class Attempt(Base):
    """One execution of a job under a lease; ``number`` is the fence."""

    __tablename__ = "attempt"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    worker: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # succeeded | failed | canceled | lost | split
    error: Mapped[dict[str, Any] | None]
    usage_report: Mapped[dict[str, Any] | None]


class ResultCache(Base):
    """The newest job of a tenant that answered a question; see ``app.jobs.result_cache``."""

    __tablename__ = "result_cache"

    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (Index("ix_result_cache_created_at", "created_at"),)


class IdempotencyKey(Base):
    """The caller's promise that two requests are one; kept for as long as its resource."""

    __tablename__ = "idempotency_key"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]  # SHA-256 of method, path and body
    resource_id: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))


class WorkerHeartbeat(Base):
    """A GPU worker that is alive; the dispatcher counts capacity from these rows."""

    __tablename__ = "worker_heartbeat"

    worker: Mapped[str] = mapped_column(primary_key=True)
    capacity: Mapped[int]
    engines: Mapped[list[str]]
    device: Mapped[str]
    # what segments may take of its machine's disk together
    disk_bytes: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    started_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    seen_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))


class DispatchClock(Base):
    """A tenant's virtual time in fair dispatch: estimated GPU seconds served over its weight."""

    __tablename__ = "dispatch_clock"

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    virtual_time: Mapped[float] = mapped_column(Float, default=0.0)
