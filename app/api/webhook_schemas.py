"""Documents of webhook endpoints and deliveries."""

from datetime import datetime
from typing import Literal

from app.api.schemas import Document, Listing


class EndpointObject(Document):
    """An address that receives events."""

    id: str
    object: Literal["webhook_endpoint"]
    url: str
    events: list[str]
    enabled: bool
    created_at: datetime


class EndpointCreated(EndpointObject):
    """An address with its signing secret, which is shown this once."""

    secret: str


class EndpointList(Listing):
    """One page of addresses, oldest first."""

    data: list[EndpointObject]


class EventBooked(Document):
    """An event that is on its way."""

    event: str
    type: str


class DeliveryAttempt(Document):
    """One POST and what came back."""

    number: int
    at: datetime
    status_code: int | None
    error: str | None
    duration_ms: int
    response_excerpt: str | None


class DeliveryObject(Document):
    """One event for one address; ``id`` is the ``webhook-id`` of every attempt."""

    id: str
    object: Literal["webhook_delivery"]
    event: str
    type: str
    job: str | None
    endpoint: str | None
    url: str
    status: Literal["pending", "delivered", "exhausted", "disabled"]
    attempts: list[DeliveryAttempt]
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    created_at: datetime


class DeliveryList(Listing):
    """One page of the delivery log, newest first."""

    data: list[DeliveryObject]
