"""Documents of invoices, statements, packs and subscriptions."""

from datetime import date, datetime
from typing import Any, Literal

from pydantic import Field

from app.api.schemas import Document, Listing, Tokens


class InvoiceLinks(Document):
    """Addresses of the same invoice in its forms."""

    self: str
    html: str
    pdf: str


class InvoiceSummary(Document):
    """An invoice in a list; money is a text with 2 decimals."""

    number: str
    object: Literal["invoice"]
    month: str
    total: str
    currency: str
    issued_at: datetime
    links: InvoiceLinks


class InvoiceList(Listing):
    """One page of invoices, newest month first."""

    data: list[InvoiceSummary]


class InvoiceUsage(Document):
    """What was used, by card, engine and model."""

    rate_card: str
    engine: str
    model: str
    jobs: int
    tokens: Tokens


class InvoiceLine(Document):
    """One charge; amounts are exact texts, rounded only in the total."""

    kind: Literal["tier", "pack", "subscription"]
    description: str
    quantity: str
    unit: str
    unit_price: str
    amount: str


class InvoicePeriod(Document):
    """From the first moment to before the last."""

    start: datetime
    end: datetime


class InvoiceObject(InvoiceSummary):
    """An issued invoice: it never changes."""

    tenant: str
    name: str
    mode: str
    zone: str
    period: InvoicePeriod
    price_list: str
    usage: list[InvoiceUsage]
    billed_tokens: Tokens = Field(
        description="charged on credit; what grants paid for costs nothing"
    )
    lines: list[InvoiceLine]


class MovementObject(Document):
    """Everything of one kind; tokens are signed."""

    kind: str
    entries: int
    tokens: Tokens


class DayObject(MovementObject):
    """Everything of one kind on a local day."""

    day: date
    balance_after: Tokens


class StatementObject(Document):
    """A month of the wallet: opening + movements = closing."""

    object: Literal["statement"]
    tenant: str
    month: str
    zone: str
    start: datetime
    end: datetime
    opening_balance: Tokens
    closing_balance: Tokens
    movements: list[MovementObject]
    days: list[DayObject]


class PurchaseObject(Document):
    """Tokens that were bought."""

    id: str
    object: Literal["purchase"]
    tenant: str
    kind: str
    item: str
    tokens: Tokens
    token_price: str | None = Field(description="locked: yuan for each of these tokens")
    amount: str
    grant: str | None
    bought_at: datetime


class SubscriptionObject(Document):
    """A plan that a tenant is on."""

    id: str
    object: Literal["subscription"]
    tenant: str
    plan: str
    started_on: date
    canceled_on: date | None


class SubscriptionList(Listing):
    """All of a tenant's."""

    data: list[SubscriptionObject]


class MonthEnd(Document):
    """What a run of the month end issued."""

    issued: list[dict[str, Any]]
