"""Documents of batches."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from app.api.schemas import Document, Forecast, JobError, JobOutput, Listing, Tokens

Kind = Literal[
    "waiting", "queued", "running", "succeeded", "failed", "canceled", "expired", "refused",
    "invalid",
]  # fmt: skip


class BatchCounts(Document):
    """Items by where they stand; together they are ``total``."""

    waiting: int = Field(description="priced, the job is being made")
    queued: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    expired: int
    refused: int = Field(description="nothing could be held when its turn came")
    invalid: int = Field(description="was wrong and left out")


class ManifestFile(Document):
    """A file of results; ``signature`` is the HMAC of ``{batch}.{signed_at}.{sha256}``."""

    file: str
    url: str | None = Field(description="for 15 minutes; null when the file is gone")
    bytes: int
    sha256: str
    signature: str = Field(description="with the secret of the webhook, else the tenant's default")


class BatchManifest(Document):
    """Every item with its result, price and reason, made once at the end."""

    json_: ManifestFile = Field(alias="json")
    csv: ManifestFile
    signed_at: int = Field(description="Unix time in seconds")
    expires_at: datetime


class BatchLinks(Document):
    """Addresses of the batch."""

    self: str
    items: str
    cancel: str
    retry: str
    outputs: str = Field(description="a ZIP of what was produced so far, for 15 minutes")


class BatchObject(Forecast):
    """Jobs that were sent together; ``tokens`` is what the settled ones cost."""

    id: str
    object: Literal["batch"]
    status: Literal["accepting", "running", "canceling", "completed", "canceled"]
    total: int
    counts: BatchCounts
    tokens_quoted: Tokens
    tokens: Tokens
    retry_of: str | None
    created_at: datetime
    finished_at: datetime | None
    manifest: BatchManifest | None
    links: BatchLinks


class BatchList(Listing):
    """One page of batches, newest first."""

    data: list[BatchObject]


class BatchItemObject(Document):
    """One item, by its place in the caller's list."""

    index: int
    status: Kind
    engine: str | None
    model: str | None
    job: str | None
    tokens_quoted: Tokens | None
    tokens: Tokens | None
    gpu_ms: float | int | None
    error: JobError | None
    metadata: dict[str, Any]
    output: JobOutput | None


class BatchItemList(Listing):
    """One page of items, by index."""

    data: list[BatchItemObject]
