"""Documents of recharges and their log."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from app.api.schemas import Document, Listing, Tokens


class FailedUser(Document):
    """A row that got nothing."""

    row: int
    user: str
    code: str
    reason: str


class RechargeObject(Document):
    """Tokens for many; ``operator`` is a label, ``maker`` the person behind the key."""

    id: str | None = Field(description="null for a dry run")
    object: Literal["recharge"]
    status: Literal["completed", "pending_approval", "rejected", "expired", "dry_run"]
    source: Literal["json", "csv", "estimate"]
    mode: Literal["atomic", "partial"]
    operator: str
    reason: str
    maker: str
    users: int
    succeeded: int
    failed: int
    tokens: Tokens = Field(description="sum over the rows that are right")
    failed_users: list[FailedUser] = Field(description="the first 10 000")
    approval: str | None
    needs_approval: bool
    created_at: datetime | None
    booked_at: datetime | None


class RechargeSummary(Document):
    """A recharge as lists show it."""

    id: str
    object: Literal["recharge"]
    status: Literal["completed", "pending_approval", "rejected", "expired"]
    source: Literal["json", "csv", "estimate"]
    mode: Literal["atomic", "partial"]
    operator: str
    reason: str
    maker: str
    users: int
    succeeded: int
    failed: int
    tokens: Tokens
    approval: str | None
    created_at: datetime
    booked_at: datetime | None


class RechargeList(Listing):
    """One page of recharges, newest first."""

    data: list[RechargeSummary]


class RechargeLogLine(Document):
    """One row of a recharge, with the balance around it once it is booked."""

    row: int
    user: str
    tenant: str | None
    amount: Tokens | None
    expires_at: datetime | None
    status: Literal["booked", "failed", "waiting"]
    code: str | None
    detail: str | None
    grant: str | None
    balance_before: Tokens | None
    balance_after: Tokens | None
    operator: str
    reason: str


class RechargeLog(Listing):
    """One page of the log, in the order of the rows."""

    data: list[RechargeLogLine]
