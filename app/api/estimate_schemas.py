"""Documents of estimates."""

from datetime import datetime
from typing import Literal

from app.api.schemas import Document, Forecast, Tokens


class EstimateError(Document):
    """Why an item became no job."""

    code: str
    detail: str


class EstimateItemObject(Document):
    """One job of a batch; ``job`` once it was submitted."""

    index: int
    engine: str
    model: str
    tokens: Tokens
    job: str | None
    error: EstimateError | None


class SkippedItem(Document):
    """An item that was left out, said in the answer that made the estimate."""

    index: int
    code: str
    detail: str


class EstimateObject(Forecast):
    """A priced batch; ``shortfall`` is what the balance lacks for it."""

    id: str
    object: Literal["estimate"]
    status: Literal["quoted", "awaiting_approval", "starting", "started", "expired"]
    total: int
    tokens: Tokens
    balance: Tokens
    shortfall: Tokens
    sufficient: bool
    items: list[EstimateItemObject]
    skipped: list[SkippedItem]
    recharge: str | None
    approval: str | None
    created_at: datetime
    expires_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
