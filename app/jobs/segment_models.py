"""Tables of long videos in segments: the segments, their attempts, and how fast videos went."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy import text as sql
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.jobs.models import Job


class JobSegment(Base):
    """A slice of one video job, the unit of retry; ``segments`` and ``segment_joins`` write it."""

    __tablename__ = "segment"

    job_id: Mapped[str] = mapped_column(ForeignKey(Job.id), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[str]  # this and the next two are the job's: the dispatcher steps from lane
    engine: Mapped[str]  # to lane as it does with jobs
    priority: Mapped[str]
    first_frame: Mapped[int]
    frames: Mapped[int]
    start_pts: Mapped[int] = mapped_column(BigInteger)
    end_pts: Mapped[int | None] = mapped_column(BigInteger)
    object_name: Mapped[str]  # number and what is computed: the name of its result in storage
    estimated_ms: Mapped[int]
    work_bytes: Mapped[int] = mapped_column(BigInteger)  # of disk, reserved while it runs

    status: Mapped[str]  # see ``app.jobs.states.SegmentStatus``
    attempt: Mapped[int] = mapped_column(default=0, server_default=sql("0"))  # the fence
    dispatched_at: Mapped[datetime | None]
    lease_owner: Mapped[str | None]
    lease_expires_at: Mapped[datetime | None]
    progress_done: Mapped[int] = mapped_column(default=0, server_default=sql("0"))
    progress_fps: Mapped[float | None] = mapped_column(Float)

    files: Mapped[list[str] | None]  # objects in storage: {"key", "name", "media_type", ...}
    data: Mapped[dict[str, Any] | None]
    usage_report: Mapped[dict[str, Any] | None]  # of what counts; attempts that were lost have none
    wall_us: Mapped[int] = mapped_column(BigInteger, server_default=sql("0"))  # of that attempt
    has_objects: Mapped[bool] = mapped_column(server_default=sql("true"))  # until they are deleted
    created_at: Mapped[datetime] = mapped_column(server_default=sql("clock_timestamp()"))

    __table_args__ = (
        CheckConstraint(
            "status IN ('waiting','running','done','canceled','dropped')", name="status"
        ),
        CheckConstraint(
            "(status = 'running') = (lease_expires_at IS NOT NULL)", name="lease_iff_running"
        ),
        CheckConstraint("frames > 0", name="frames"),
        Index(
            "ix_segment_waiting",
            "priority",
            "tenant_id",
            "engine",
            "job_id",
            "number",
            postgresql_where=sql("status = 'waiting' AND dispatched_at IS NULL"),
        ),
        Index(
            "ix_segment_published",
            "engine",
            "dispatched_at",
            postgresql_where=sql("status = 'waiting' AND dispatched_at IS NOT NULL"),
        ),
        Index("ix_segment_leased", "lease_expires_at", postgresql_where=sql("status = 'running'")),
        Index("ix_segment_has_objects", "job_id", postgresql_where=sql("has_objects")),
    )


class SegmentAttempt(Base):
    """One execution of a segment under a lease; ``number`` is the fence."""

    __tablename__ = "segment_attempt"

    job_id: Mapped[str] = mapped_column(primary_key=True)
    segment: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    worker: Mapped[str]
    started_at: Mapped[datetime] = mapped_column(server_default=sql("clock_timestamp()"))
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]  # done | found | failed | canceled | lost
    error: Mapped[dict[str, Any] | None]

    __table_args__ = (
        ForeignKeyConstraint(["job_id", "segment"], [JobSegment.job_id, JobSegment.number]),
    )


class VideoSpeed(Base):
    """How long a frame took lately; see ``app.jobs.speeds``."""

    __tablename__ = "video_speed"

    engine: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    size_class: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    ms_per_frame: Mapped[float] = mapped_column(Float)
    frames: Mapped[int] = mapped_column(BigInteger)
    measured_at: Mapped[datetime] = mapped_column(server_default=sql("clock_timestamp()"))
