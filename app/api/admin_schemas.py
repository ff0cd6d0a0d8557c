"""Documents that only operators read."""

from datetime import datetime
from typing import Literal

from app.api.money_schemas import BalanceObject
from app.api.schemas import Document


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
