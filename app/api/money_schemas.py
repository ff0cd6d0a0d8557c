"""Documents of balances, the ledger and prices."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.api.schemas import Document, Listing, Tokens


class GrantObject(Document):
    """Tokens given or bought that are not used up."""

    id: str
    kind: str
    remaining: Tokens
    expires_at: datetime | None
    priority: int
    token_price: str | None = Field(description="yuan for each token, locked by a pack")


class GrantHistoryObject(Document):
    """A grant and what became of it; ``granted`` is the sum of the five after it."""

    id: str
    object: Literal["grant"]
    kind: str = Field(description="purchase, grant, quota, refund, bulk or subscription")
    granted: Tokens
    remaining: Tokens
    held: Tokens
    spent: Tokens
    expired: Tokens
    revoked: Tokens
    priority: int
    effective_at: datetime
    expires_at: datetime | None


class GrantPage(Listing):
    """One page of grants, newest first."""

    data: list[GrantHistoryObject]


class BalanceObject(Document):
    """What can be spent now."""

    available: Tokens
    held: Tokens
    debt: Tokens
    grants: list[GrantObject]


class LedgerEntry(Document):
    """One line of the statement: signed changes of what is available and of what is held."""

    id: str
    kind: str = Field(
        description="grant, hold, settle, expire, void, refund, revoke, repay or correction"
    )
    tokens: Tokens = Field(description="change of the available balance")
    held: Tokens = Field(description="change of what running jobs hold")
    balance_after: Tokens
    job: str | None
    grant: str | None
    created_at: datetime


class LedgerPage(Listing):
    """One page of the statement, newest first."""

    data: list[LedgerEntry]


class ModelObject(Document):
    """A named, versioned, priced model; when not available it can be quoted only."""

    id: str = Field(description="name@version")
    name: str
    version: str
    runner: str
    available: bool
    active: bool = Field(description="whether the plain name means this version")
    base: str | None = Field(description="of a model of yours: whose contract and price it has")
    licences: list[str]


class ModelPriceTerm(Document):
    """What one unit of a quantity costs; ``factors`` by attribute and value."""

    name: str
    quantity: str
    unit: str
    tokens: Tokens
    when: dict[str, list[str]]
    factors: dict[str, dict[str, float | int]]
    multiply: list[str]
    divide: list[str | float | int]
    rounded_each: Tokens | None


class PriceRounding(Document):
    """Half up to a multiple of ``quantum`` tokens, then at least ``minimum``."""

    quantum: Tokens
    minimum: Tokens


class BatchDiscountObject(Document):
    """From ``items`` items in one batch on, each costs ``percent`` less."""

    items: int
    percent: float | int


class EnginePrice(Document):
    """The rate card in force for this tenant."""

    rate_card: str
    sentence: str = Field(description="the whole card in words")
    terms: list[ModelPriceTerm]
    rounding: PriceRounding
    batch_discounts: list[BatchDiscountObject]


class EngineObject(Document):
    """An engine with its models, parameters (a JSON schema) and prices."""

    name: str
    object: Literal["engine"]
    title: str
    description: str
    media: list[str]
    sources: Literal["none", "one", "many"]
    params: dict[str, Any]
    aliases: dict[str, str]
    models: list[ModelObject]
    price: EnginePrice | None


class EngineList(Listing):
    """Every engine of this installation."""

    data: list[EngineObject]
