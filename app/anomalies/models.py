"""Tables of anomaly rules and of what they found."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Float, ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base
from app.tenants.models import Tenant


class AnomalyRule(Base):
    """What counts as odd. A rule never changes: end it and make another."""

    __tablename__ = "anomaly_rule"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]  # spike | repeat
    tenant_id: Mapped[str | None] = mapped_column(ForeignKey(Tenant.id))  # null: every tenant
    factor: Mapped[float | None] = mapped_column(Float)  # spike: so many times the pattern
    min_tokens: Mapped[int | None] = mapped_column(BigInteger)  # spike: micro-tokens in the hour
    min_hours: Mapped[int | None]  # spike: active hours that make a pattern
    max_times: Mapped[int | None]  # repeat: so often is still fine
    minutes: Mapped[int | None]  # repeat: within
    freezes: Mapped[bool]  # also freeze the tenant
    created_at: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    ended_at: Mapped[datetime | None]

    __table_args__ = (
        CheckConstraint(
            "CASE kind WHEN 'spike' THEN factor > 1 AND min_tokens > 0 AND min_hours > 0"
            " AND num_nonnulls(factor, min_tokens, min_hours) = 3"
            " AND num_nonnulls(max_times, minutes) = 0"
            " WHEN 'repeat' THEN max_times > 0 AND minutes > 0"
            " AND num_nonnulls(max_times, minutes) = 2"
            " AND num_nonnulls(factor, min_tokens, min_hours) = 0 ELSE false END",
            name="terms",
        ),
    )


class AnomalyFinding(Base):
    """Something odd, found once; numbers as they were then."""

    __tablename__ = "anomaly_finding"

    id: Mapped[str] = mapped_column(primary_key=True)
    rule_id: Mapped[str] = mapped_column(ForeignKey("anomaly_rule.id"))
    tenant_id: Mapped[str] = mapped_column(ForeignKey(Tenant.id))
    subject_kind: Mapped[str]  # key | end_user | content
    subject: Mapped[str]  # key id, end user's tag, SHA-256 of the content
    observed: Mapped[float] = mapped_column(Float)  # tokens in the hour, or times
    expected: Mapped[float] = mapped_column(Float)  # tokens of the pattern, or times allowed
    since: Mapped[datetime]  # start of the hour or of the minutes that were looked at
    froze: Mapped[bool]
    found_at: Mapped[datetime]

    __table_args__ = (
        Index(
            "uq_anomaly_finding_place",
            "rule_id",
            "tenant_id",
            "subject_kind",
            "subject",
            "since",
            unique=True,
        ),
        Index("ix_anomaly_finding_tenant_id_id", "tenant_id", "id"),
    )
