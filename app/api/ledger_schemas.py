"""Documents of refunds, payments, corrections and reconciliations."""

from datetime import date, datetime
from typing import Literal

from pydantic import Field

from app.api.schemas import Document, Listing, Tokens


class RefundObject(Document):
    """Tokens given back of one job's charge."""

    object: Literal["refund"]
    job: str
    entry: str
    tokens: Tokens
    refunded: Tokens = Field(description="of this job so far")
    charged: Tokens


class EntryObject(Document):
    """What was booked."""

    object: Literal["entry"]
    entry: str
    tokens: Tokens


class FindingObject(Document):
    """A broken promise of the ledger; amounts in the detail are micro-tokens."""

    code: str
    subject: str
    detail: str
    tenant: str | None


class ReconciliationObject(Document):
    """One comparison of the books; open ones have no end yet."""

    id: str
    object: Literal["reconciliation"]
    asked_by: str
    day: date | None
    started_at: datetime
    finished_at: datetime | None
    transfers: int | None
    found: int | None


class ReconciliationDetail(ReconciliationObject):
    """A comparison with what it found."""

    findings: list[FindingObject]


class ReconciliationList(Listing):
    """One page of reconciliations, newest first."""

    data: list[ReconciliationObject]
