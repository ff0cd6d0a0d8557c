"""Documents that only operators read."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.api.money_schemas import BalanceObject
from app.api.schemas import Document, Listing, Tokens


class TenantObject(Document):
    """A customer that pays."""

    id: str
    object: Literal["tenant"]
    name: str
    group: str
    zone: str
    mode: str
    consent_mode: str
    balance: BalanceObject
    created_at: datetime


class KeyCreated(Document):
    """An API key; ``key`` is shown this once."""

    id: str
    object: Literal["api_key"]
    key: str
    tenant: str
    project: str | None
    name: str
    expires_at: datetime | None


class QueueDepthObject(Document):
    """Jobs that wait, by engine and priority."""

    engine: str
    priority: str
    jobs: int
    oldest_s: float


class QueuesObject(Document):
    """What waits and what runs."""

    queued: list[QueueDepthObject]
    running: int


class ApprovalObject(Document):
    """A decision that takes two people; ``maker`` and ``checker`` are operators, not keys."""

    id: str
    object: Literal["approval"]
    kind: str
    subject: str
    status: Literal["pending", "approved", "rejected", "expired"]
    payload: dict[str, Any]
    maker: str
    checker: str | None
    reason: str | None
    result: dict[str, Any] | None
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None


class ApprovalList(Listing):
    """One page of approvals, newest first."""

    data: list[ApprovalObject]


class AuditEntryObject(Document):
    """One row of the hash chain over admin actions and money journals."""

    seq: int
    at: datetime
    actor: str
    action: str = Field(description="thing.verb; of a journal journal.kind")
    subject: str
    detail: dict[str, Any]
    journal: str | None
    digest: str = Field(description="SHA-256 of the digest before it and this row")


class AuditPage(Listing):
    """One page of the audit log, newest first."""

    data: list[AuditEntryObject]


class GrantRuleObject(Document):
    """What is given by the clock."""

    id: str
    object: Literal["grant_rule"]
    name: str
    kind: Literal["daily", "monthly", "reward", "campaign"]
    amount: Tokens
    group: str | None
    tenants: list[str] | None
    month_day: int | None
    measure: Literal["jobs", "outputs"] | None
    at_least: int | None
    starts_at: datetime
    ends_at: datetime | None
    lifetime_days: int | None
    expires_at: datetime | None
    priority: int
    enabled: bool
    enabled_at: datetime
    maker: str
    approval: str | None
    created_at: datetime


class GrantRuleList(Listing):
    """One page of grant rules, newest first."""

    data: list[GrantRuleObject]
