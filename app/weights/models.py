"""The table of tenants' own models: one row per version, kept after its weights are gone."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class TenantModel(Base):
    """Weights of a tenant under the contract and the price of ``base``."""

    __tablename__ = "tenant_model"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    engine: Mapped[str]
    name: Mapped[str]
    version: Mapped[int]  # never used twice, so that a result's name@version stays true
    base: Mapped[str]  # the name of a shipped model
    sha256: Mapped[str]
    bytes: Mapped[int] = mapped_column(BigInteger)
    storage_key: Mapped[str]
    licence: Mapped[str]
    inputs: Mapped[dict[str, Any]]  # shapes by input name; -1: any length
    confined_by: Mapped[list[str]]  # what held during the trial
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    deleted_at: Mapped[datetime | None]

    __table_args__ = (UniqueConstraint("tenant_id", "name", "version"),)
