"""The table of files: one row per stored object, uploaded or produced."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class File(Base):
    """A picture or video in storage; ``width`` and ``height`` are after rotation."""

    __tablename__ = "file"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    job_id: Mapped[str | None]  # set on outputs; no foreign key: jobs outlive files and back
    purpose: Mapped[str] = mapped_column(default="input")  # input | output
    storage_key: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    media_type: Mapped[str]
    kind: Mapped[str]  # image | video | data
    bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str]
    width: Mapped[int | None]
    height: Mapped[int | None]
    duration_s: Mapped[float | None]
    frames: Mapped[int | None]
    fps: Mapped[float | None]
    has_audio: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime]

    __table_args__ = (
        Index("ix_file_expires_at", "expires_at"),
        Index("ix_file_tenant_id_id", "tenant_id", "id"),
        Index("ix_file_job_id", "job_id", postgresql_where=text("job_id IS NOT NULL")),
    )
