"""The table of uploads: how far each has come, and what became of it."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class Upload(Base):
    """``received`` bytes are on stable storage: it is raised after they are, in the same lock."""

    __tablename__ = "upload"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    way: Mapped[str]  # tus | direct
    status: Mapped[str] = mapped_column(default="receiving")  # receiving | finished | refused
    name: Mapped[str]
    labels: Mapped[str] = mapped_column(default="")  # Upload-Metadata as sent
    total: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    sha256: Mapped[str | None]  # what the whole has to be, where the caller said so
    storage_key: Mapped[str] = mapped_column(unique=True)
    growing: Mapped[dict[str, Any]] = mapped_column(default=dict)  # the storage's own note
    writer: Mapped[int] = mapped_column(BigInteger, default=0)  # fence: the newest request writes
    file_id: Mapped[str | None]  # no foreign key: an upload may outlive its file and back
    error: Mapped[dict[str, Any] | None]  # {"code", "detail", "status"}
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]

    __table_args__ = (
        CheckConstraint("way IN ('tus', 'direct')", name="way"),
        CheckConstraint("status IN ('receiving', 'finished', 'refused')", name="status"),
        CheckConstraint("received BETWEEN 0 AND total", name="received"),
        CheckConstraint("(status = 'finished') = (file_id IS NOT NULL)", name="file_iff_finished"),
        CheckConstraint("(status = 'refused') = (error IS NOT NULL)", name="error_iff_refused"),
        Index("ix_upload_expires_at", "expires_at"),
        Index("ix_upload_tenant_id", "tenant_id"),
    )
