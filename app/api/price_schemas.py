"""Requests and documents of prices: rate cards, pricing rules, previews, overruns."""

from datetime import datetime
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.api.schemas import Document, Listing, Tokens
from billing.publishing import VERSION_MAX


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TermRequest(_Closed):
    """The price of one quantity; numbers are texts, so that they are exact."""

    name: str = Field(max_length=64)
    quantity: str = Field(max_length=64)
    unit: str = Field(max_length=64)
    tokens: str = Field(max_length=64, description='for one unit, "0.7" or "2/30"')
    when: dict[str, list[str]] = {}
    tables: dict[str, dict[str, str]] = {}
    multiply: list[str] = []
    divide: list[str] = []
    over: str = "1"
    each: str | None = None
    rebate: bool = False


class RoundingRequest(_Closed):
    """How the sum is rounded."""

    quantum: str = Field(max_length=64)
    minimum: str = Field(max_length=64)


class BatchDiscountRequest(_Closed):
    """From ``items`` items in one batch on."""

    items: int = Field(ge=1)
    percent: str = Field(max_length=64)


class CeilingRequest(_Closed):
    """The most of a quantity that only a run can measure, for quotes."""

    quantity: str = Field(max_length=64)
    per: str = Field(max_length=64)
    amount: str = Field(max_length=64)


class RateCardRequest(_Closed):
    """A new version of a rate card."""

    card: str = Field(max_length=64)
    version: int | None = Field(None, ge=1, le=VERSION_MAX, description="default: the next one")
    effective_from: AwareDatetime | None = Field(None, strict=False, description="default: now")
    engines: list[str] = Field(max_length=64)
    rounding: RoundingRequest
    terms: list[TermRequest] = Field(max_length=200)
    batch_discounts: list[BatchDiscountRequest] = Field([], max_length=50)
    ceilings: list[CeilingRequest] = Field([], max_length=50)

    def data(self) -> dict[str, Any]:
        """As ``billing.publishing`` takes it: what was not said is left out."""
        return self.model_dump(
            mode="json", exclude_unset=True, exclude_none=True, exclude={"effective_from"}
        )


class RuleRequest(_Closed):
    """A new version of a pricing rule."""

    kind: str = Field(max_length=64)
    subject: str = Field(max_length=200, description='a tenant id, "*", a device or a name')
    effective_from: AwareDatetime | None = Field(None, strict=False, description="default: now")
    body: dict[str, Any]


class CardChoice(_Closed):
    """Which card a tenant is on."""

    card: str | None = Field(max_length=64, description="null: everybody's again")
    engine: str | None = Field(None, max_length=64, description="null: every engine it prices")


class RateCardObject(Document):
    """One published version."""

    id: str
    object: Literal["rate_card"]
    card: str
    version: int
    state: Literal["past", "current", "scheduled"]
    effective_from: datetime
    effective_until: datetime | None
    published_at: datetime
    published_by: str
    sentence: str
    body: dict[str, Any] = Field(description="what a new version may be made of")


class RateCardList(Listing):
    """Every version, by card, newest first."""

    data: list[RateCardObject]


class ComparisonObject(Document):
    """The same jobs by the cards they were charged with and by the proposed one."""

    name: str
    jobs: int
    old_tokens: Tokens
    new_tokens: Tokens
    change_percent: float | None
    unpriced: int = Field(description="jobs that the proposed card would refuse")


class PreviewObject(Document):
    """Last week's work at the proposed prices."""

    rate_card: str
    since: datetime
    total: ComparisonObject
    by_model: list[ComparisonObject]
    by_tenant: list[ComparisonObject]


class RuleObject(Document):
    """One published version of a pricing rule."""

    object: Literal["pricing_rule"]
    kind: str
    subject: str
    version: int
    effective_from: datetime
    published_at: datetime
    published_by: str
    body: dict[str, Any]


class RuleList(Listing):
    """Every version, by kind and subject, newest first."""

    data: list[RuleObject]


class TenantCards(Document):
    """A tenant's own cards by engine; ``*`` is every engine the card prices."""

    tenant: str
    cards: dict[str, str]


class OverrunObject(Document):
    """What the house paid for, by card, engine and model."""

    rate_card: str
    engine: str
    model: str
    jobs: int
    overrun_jobs: int
    overrun_absorbed: Tokens
    quarantined_jobs: int
    unpriced_jobs: int


class OverrunReport(Document):
    """Prices above their holds, impossible compute times, work without a price."""

    since: datetime
    until: datetime
    overrun_absorbed: Tokens
    data: list[OverrunObject]
