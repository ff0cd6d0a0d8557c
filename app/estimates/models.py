"""Tables of estimates and their items."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class Estimate(Base):
    """A batch that was priced and may be started later; what it asks for never changes."""

    __tablename__ = "estimate"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    api_key_id: Mapped[str]  # who asked; the jobs start in the name of this key
    items: Mapped[int]
    tokens: Mapped[int] = mapped_column(BigInteger)  # micro-tokens, the sum of the quotes
    forecast: Mapped[dict[str, Any] | None]  # of time, as it was told
    recharge_id: Mapped[str | None]  # asked for last
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    started_at: Mapped[datetime | None]  # the jobs may be submitted
    finished_at: Mapped[datetime | None]  # every item is a job or has failed

    __table_args__ = (
        CheckConstraint("tokens >= 0 AND items > 0", name="size"),
        Index("ix_estimate_tenant_id_id", "tenant_id", "id"),
        Index(
            "ix_estimate_starting",
            "started_at",
            postgresql_where=text("started_at IS NOT NULL AND finished_at IS NULL"),
        ),
    )


class EstimateItem(Base):
    """One job of an estimate: its sealed request, and what became of it."""

    __tablename__ = "estimate_item"

    estimate_id: Mapped[str] = mapped_column(ForeignKey(Estimate.id), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)  # in the caller's list, from 0
    engine: Mapped[str]
    model: Mapped[str]
    tokens: Mapped[int] = mapped_column(BigInteger)  # the most it may cost
    request: Mapped[bytes] = mapped_column(LargeBinary)  # encrypted: it may hold a webhook secret
    job_id: Mapped[str | None]
    error_code: Mapped[str | None]
    error_detail: Mapped[str | None]

    __table_args__ = (
        CheckConstraint("job_id IS NULL OR error_code IS NULL", name="one_end"),
        Index(
            "ix_estimate_item_waiting",
            "estimate_id",
            "position",
            postgresql_where=text("job_id IS NULL AND error_code IS NULL"),
        ),
    )
