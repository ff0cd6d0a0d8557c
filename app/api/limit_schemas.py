"""Documents of caps, freezing and balance alerts."""

from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.schemas import Document, Listing, Tokens
from app.limits.caps import CapWish


class CapRequest(BaseModel):
    """A cap to set; the same scope, subject and window again changes its limit."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    scope: str = Field("tenant", max_length=32, description="tenant, project, key or end_user")
    subject: str | None = Field(
        None,
        max_length=128,
        description="Name or id of the project, id of the key, your tag of the end user, or * for"
        " each of them; left out for the tenant.",
    )
    window: str = Field(max_length=32, description="day or month, in the tenant's zone")
    limit: int | float = Field(description="tokens")

    def wish(self) -> CapWish:
        """The same for the service."""
        return CapWish(self.scope, self.subject, self.window, self.limit)


class CapObject(Document):
    """A cap and how full it is; for ``*`` the numbers are those of its fullest subject."""

    id: str
    object: Literal["cap"]
    set_by: Literal["operator", "tenant"]
    scope: Literal["tenant", "project", "key", "end_user"]
    subject: str | None
    name: str | None = Field(description="what the project or key is called")
    window: Literal["day", "month"]
    zone: str
    limit: Tokens
    used: Tokens = Field(description="charged in this window")
    reserved: Tokens = Field(description="held by jobs under way")
    remaining: Tokens
    fullest: str | None
    window_start: date = Field(description="the first local date of the window")
    starts_anew: datetime


class CapList(Listing):
    """Every cap in force; there is one page."""

    data: list[CapObject]


class AlertRequest(BaseModel):
    """When to tell of a low balance."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    below: int | float | None = Field(description="tokens; null: never")


class AlertObject(Document):
    """Below what the owner is told."""

    below: Tokens | None


class FreezeRequest(BaseModel):
    """Why a tenant is frozen."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: str = Field(max_length=1000, description="The tenant will read it.")


class FrozenObject(Document):
    """Whether new jobs are accepted."""

    tenant: str
    frozen: bool
    reason: str | None
    frozen_at: datetime | None
