"""Tables of webhook endpoints, events (snapshots), deliveries and their attempts."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class WebhookEndpoint(Base):
    """An address of a tenant that receives events."""

    __tablename__ = "webhook_endpoint"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]]  # empty: all
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # encrypted whsec_ value
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(server_default=text("now()"))

    __table_args__ = (Index("ix_webhook_endpoint_tenant_id", "tenant_id"),)


class WebhookEvent(Base):
    """What happened, frozen as the exact body that is signed; never re-read from the job."""

    __tablename__ = "webhook_event"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    job_id: Mapped[str | None]
    type: Mapped[str]
    sequence: Mapped[int]
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (
        Index(
            "uq_webhook_event_job_id_type",
            "job_id",
            "type",
            unique=True,
            postgresql_where=text("type <> 'job.progress'"),
        ),
        Index(
            "ix_webhook_event_progress",
            "job_id",
            postgresql_where=text("type = 'job.progress'"),
        ),
    )


class WebhookDelivery(Base):
    """One event for one address. ``id`` is the webhook-id header of every attempt and replay."""

    __tablename__ = "webhook_delivery"

    id: Mapped[str] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_event.id"))
    tenant_id: Mapped[str]
    endpoint_id: Mapped[str | None]  # null: the job's own webhook
    lane: Mapped[str]  # endpoint id, or tenant and origin of a job's own: one in-flight cap
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[bytes] = mapped_column(LargeBinary)  # encrypted, as it was when booked
    status: Mapped[str] = mapped_column(default="pending")  # pending|delivered|exhausted|disabled
    attempts: Mapped[int] = mapped_column(default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(
        server_default=text("clock_timestamp()")
    )
    published_at: Mapped[datetime | None]  # hint sent to the webhook worker
    claimed_until: Mapped[datetime | None]  # a sender works on it; a dead one loses it
    delivered_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))

    __table_args__ = (
        Index("uq_webhook_delivery_event_id_url", "event_id", "url", unique=True),
        Index(
            "ix_webhook_delivery_due",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_webhook_delivery_lane",
            "lane",
            "next_attempt_at",
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_webhook_delivery_tenant_id_id", "tenant_id", "id"),
    )


class WebhookAttempt(Base):
    """One POST: what was sent when, and what came back."""

    __tablename__ = "webhook_attempt"

    delivery_id: Mapped[str] = mapped_column(ForeignKey("webhook_delivery.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    status_code: Mapped[int | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int]
    response_excerpt: Mapped[str | None] = mapped_column(Text)
