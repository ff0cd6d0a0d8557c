"""Tables of batches and their items."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class ItemState(StrEnum):
    """What became of an item so far; once it is a job, the job knows more."""

    WAITING = "waiting"  # priced; its job is not made yet
    JOB = "job"  # its job stands with its hold
    REFUSED = "refused"  # nothing could be held for it when its turn came
    INVALID = "invalid"  # was wrong and left out
    CANCELED = "canceled"  # the batch was canceled before its turn


class Batch(Base):
    """Jobs that were sent together; ``counts``, ``tokens`` and ``manifest`` come with the end."""

    __tablename__ = "batch"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    api_key_id: Mapped[str]  # who sent it
    total: Mapped[int]  # items in the caller's list, invalid ones included
    priced_for: Mapped[int]  # items that the batch discount counted
    tokens_quoted: Mapped[int] = mapped_column(BigInteger)  # micro-tokens, the sum of the quotes
    webhook: Mapped[dict[str, Any] | None]  # as in ``job.webhook``
    retry_of: Mapped[str | None] = mapped_column(ForeignKey("batch.id"), unique=True)
    forecast: Mapped[dict[str, Any] | None]  # of time, as it was told at the start
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    cancel_requested_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]  # everything is settled and told, in one transaction
    counts: Mapped[dict[str, Any] | None]
    tokens: Mapped[int | None] = mapped_column(BigInteger)  # micro-tokens that were charged
    manifest: Mapped[dict[str, Any] | None]  # {"json", "csv": file facts, "signed_at"}

    __table_args__ = (
        CheckConstraint("total > 0 AND tokens_quoted >= 0", name="size"),
        CheckConstraint(
            "(finished_at IS NULL) = (counts IS NULL) AND (finished_at IS NULL) = (tokens IS NULL)",
            name="told_when_finished",
        ),
        Index("ix_batch_tenant_id_id", "tenant_id", "id"),
        Index("ix_batch_unfinished", "id", postgresql_where=text("finished_at IS NULL")),
    )


class BatchItem(Base):
    """One item of a batch, by its place in the caller's list."""

    __tablename__ = "batch_item"

    batch_id: Mapped[str] = mapped_column(ForeignKey(Batch.id), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)  # from 0
    state: Mapped[str]
    engine: Mapped[str | None]
    model: Mapped[str | None]
    tokens: Mapped[int | None] = mapped_column(BigInteger)  # micro-tokens, its quote
    job_id: Mapped[str | None]
    # The columns of the job as they will be, ids of job and hold included.
    priced: Mapped[dict[str, Any] | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(
            "state IN ('waiting', 'job', 'refused', 'invalid', 'canceled')", name="state"
        ),
        CheckConstraint("(state = 'job') = (job_id IS NOT NULL)", name="job_iff_made"),
        CheckConstraint(
            "(state IN ('waiting', 'refused')) = (priced IS NOT NULL)", name="priced_until_made"
        ),
        Index(
            "ix_batch_item_waiting",
            "batch_id",
            "position",
            postgresql_where=text("state = 'waiting'"),
        ),
    )
