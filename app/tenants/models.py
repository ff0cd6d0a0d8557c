"""Tables of tenants, projects and API keys."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, LargeBinary, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Tenant(Base):
    """The customer that pays; owns one wallet (``billing.wallet``, found by this id)."""

    __tablename__ = "tenant"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    group: Mapped[str] = mapped_column("tenant_group", default="free")
    group_since: Mapped[datetime] = mapped_column(server_default=text("now()"))
    zone: Mapped[str] = mapped_column(default="UTC")  # IANA name; days and months are counted in it
    mode: Mapped[str] = mapped_column(default="prepaid")
    consent_mode: Mapped[str] = mapped_column(default="request")  # request | contract
    weight: Mapped[int] = mapped_column(default=1)  # share of the GPU in fair dispatch
    max_in_flight: Mapped[int] = mapped_column(default=100)
    max_segments: Mapped[int] = mapped_column(default=64, server_default=text("64"))  # 1: no split
    webhook_secret: Mapped[bytes] = mapped_column(LargeBinary)  # encrypted default signing secret
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (
        CheckConstraint("consent_mode IN ('request','contract')", name="consent_mode"),
        CheckConstraint("weight > 0", name="weight"),
        CheckConstraint("max_segments BETWEEN 1 AND 64", name="max_segments"),
    )


class Project(Base):
    """A part of a tenant with its own keys and usage."""

    __tablename__ = "project"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (Index("uq_project_tenant_id_name", "tenant_id", "name", unique=True),)


class ApiKey(Base):
    """A caller's credential; only its hash is stored. ``tenant_id`` is null for admin keys."""

    __tablename__ = "api_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey("tenant.id"))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("project.id"))
    role: Mapped[str] = mapped_column(default="tenant")  # tenant | admin
    name: Mapped[str] = mapped_column(default="")
    operator: Mapped[str | None]  # the person who holds an admin key; two keys, still one person
    public_part: Mapped[str] = mapped_column(unique=True)  # the 8 characters after pm_live_
    secret_hash: Mapped[bytes] = mapped_column(LargeBinary)  # SHA-256 of the whole key
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "(role = 'admin' AND tenant_id IS NULL) OR (role = 'tenant' AND tenant_id IS NOT NULL)",
            name="role",
        ),
        CheckConstraint("(role = 'admin') = (operator IS NOT NULL)", name="operator"),
    )
