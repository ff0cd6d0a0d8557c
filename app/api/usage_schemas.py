"""The query and the documents of usage reports."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.api.schemas import Document, Listing, Tokens
from app.reports.usage import UsageWish

ROWS_MAX = 1000
FILTERS = ("project", "api_key", "end_user", "engine", "model", "device")


class UsageQuery(BaseModel):
    """Which usage, summed how."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: AwareDatetime | None = Field(None, description="30 days before `until`")
    until: AwareDatetime | None = Field(None, description="not included; now")
    bucket: str = Field("1d", max_length=16, description="1m, 1h, 1d in the tenant's zone, or all")
    group_by: str = Field(
        "",
        max_length=200,
        description="any of project, api_key, end_user, engine, model, device; comma-separated",
    )
    project: str | None = Field(None, max_length=128, description="its name or id")
    api_key: str | None = Field(None, max_length=64)
    end_user: str | None = Field(None, max_length=128)
    engine: str | None = Field(None, max_length=64)
    model: str | None = Field(None, max_length=128, description="name@version")
    device: str | None = Field(None, max_length=128)
    format: str | None = Field(
        None, max_length=16, description="json, csv or parquet; else the Accept header decides"
    )
    limit: int = Field(100, ge=1, le=ROWS_MAX, description="Rows on one page of JSON.")
    after: str | None = Field(
        None, max_length=2000, description="The next_cursor of the page before this one."
    )

    def wish(self) -> UsageWish:
        """The same for the service."""
        only = {name: value for name in FILTERS if (value := getattr(self, name)) is not None}
        return UsageWish(self.since, self.until, self.bucket, self.group_by, only)


class AdminUsageQuery(UsageQuery):
    """The same over tenants; `group_by` may also name `tenant`."""

    tenant: str | None = Field(None, max_length=128, description="its name or id; else all")
    zone: str | None = Field(
        None, max_length=64, description="IANA zone of the buckets; the tenant's, else UTC"
    )


class UsageRowObject(Document):
    """Usage of one bucket and group; names that were not grouped by are left out."""

    start: datetime
    tenant: str | None = None
    project: str | None = None
    api_key: str | None = None
    end_user: str | None = None
    engine: str | None = None
    model: str | None = None
    device: str | None = None
    jobs: int
    tokens: Tokens
    average_tokens: Tokens
    gpu_ms: float
    failures: int
    cache_hits: int


class UsagePage(Listing):
    """One page of a report, oldest first."""

    data: list[UsageRowObject]
