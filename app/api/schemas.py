"""The documents the API answers with, for /openapi.json.

Answers are written by the views and never validated on the way out; the tests hold every answer
against these models. Tokens are JSON numbers with at most 6 decimals, times RFC 3339 in UTC.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Tokens = float | int


class Document(BaseModel):
    """A closed answer: a field that is not declared here is a bug the tests find."""

    model_config = ConfigDict(extra="forbid")


class ProblemPlace(Document):
    """One wrong place in the request."""

    pointer: str = Field(description="JSON pointer into the body; a name in the query")
    detail: str
    code: str


class Problem(Document):
    """RFC 9457 problem details; ``code`` is stable."""

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    request_id: str
    retryable: bool
    errors: list[ProblemPlace]


class Listing(Document):
    """What every list has."""

    next_cursor: str | None
    has_more: bool


class FileObject(Document):
    """A stored picture or video; sizes are pixels after rotation."""

    id: str
    object: Literal["file"]
    purpose: Literal["input", "output"]
    name: str
    media_type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration_s: float | None
    frames: int | None
    fps: float | None
    url: str = Field(description="the content, for 15 minutes, without a key")
    created_at: datetime
    expires_at: datetime


class PriceTerm(Document):
    """One line of a price."""

    name: str
    quantity: float | int
    unit: str
    tokens: Tokens


class QuoteMultiplier(Document):
    """A factor on the whole price, and why it applies; its effect is one of the ``terms``."""

    name: str = Field(description="batch, time_of_day, gpu_load or tenant, in this order")
    factor: float | int
    detail: str


class Forecast(Document):
    """How long it takes, from measured runs, without loading of models; null: nobody said."""

    estimated_seconds: float | int | None = Field(description="half of such runs are quicker")
    estimated_seconds_p90: float | int | None = Field(description="nine of ten are quicker")
    queue_wait_seconds: float | int | None = Field(
        description="until the first job starts; null while no worker serves its engine"
    )
    estimate_basis: Literal["measured", "scaled", "estimated"] | None = Field(
        description="runs of this kind, of another size, or the engine's own rough times"
    )
    estimate_samples: int = Field(description="how many runs it rests on")


class QuoteObject(Forecast):
    """The most a job can cost, and whether the balance covers it."""

    tokens: Tokens
    max_tokens: Tokens
    rate_card: str
    model: str = Field(description="name@version that would run")
    estimated_tokens: Tokens = Field(description="what such jobs cost at the median")
    terms: list[PriceTerm]
    multipliers: list[QuoteMultiplier]
    balance: Tokens
    balance_after: Tokens = Field(description="below 0 when the balance does not cover the quote")
    sufficient: bool = Field(
        description="the balance, or what a postpaid tenant may owe, covers it"
    )


class JobQuote(Document):
    """The price fixed when the job was accepted."""

    tokens: Tokens
    max_tokens: Tokens
    rate_card: str
    multipliers: list[QuoteMultiplier] = Field(description="a batch discount among them")


class JobProgress(Document):
    """How far the run is."""

    done: int
    total: int
    unit: str
    fps: float | None


class JobUsage(Document):
    """What was measured and charged; a job that never ran has no device and zeros."""

    tokens: Tokens
    gpu_ms: float | int = Field(description="compute time, on a GPU or in its place a CPU")
    device: str | None
    runner: str | None
    provider: str | None
    precision: str | None
    plan: str | None = Field(default=None, description="the TensorRT plan that ran")
    model: str = Field(description="name@version that really ran")
    queue_ms: int
    cold_start_ms: float | int
    run_ms: float | int
    peak_memory_bytes: int
    stages: dict[str, float | int] = Field(description="compute milliseconds by stage")
    cached: bool = Field(description="an earlier result was given again, for nothing")
    cached_embeddings: int = Field(
        default=0, description="source faces whose embedding was kept from an earlier job"
    )
    remaining_tokens: Tokens
    breakdown: list[PriceTerm]


class OutputFile(Document):
    """A produced file; ``url`` is signed, expires, and is null when the file is gone."""

    id: str
    url: str | None
    name: str
    media_type: str
    bytes: int
    sha256: str


class JobOutput(Document):
    """What the engine gave back."""

    files: list[OutputFile]
    data: dict[str, Any]


class JobError(Document):
    """Why the job failed; ``code`` is stable."""

    code: str
    detail: str
    retryable: bool


class JobLinks(Document):
    """Addresses of the job."""

    self: str
    cancel: str
    events: str
    compare: str | None = Field(
        None, description="A page that shows a coloured picture over what was sent, for 15 minutes."
    )


class JobSegments(Document):
    """How far a video is that was cut into segments."""

    total: int
    done: int


class JobObject(Document):
    """A job as its owner sees it."""

    id: str
    object: Literal["job"]
    engine: str
    model: str
    status: Literal[
        "queued",
        "starting",
        "processing",
        "finalizing",
        "succeeded",
        "failed",
        "canceled",
        "expired",
    ]
    priority: Literal["interactive", "normal", "bulk", "nightly"]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None
    queue_position: int | None
    progress: JobProgress
    attempt: int
    segments: JobSegments | None = Field(None, description="null: the job is one run")
    quote: JobQuote
    usage: JobUsage | None
    output: JobOutput | None
    error: JobError | None
    batch: str | None
    project: str | None
    user: str | None
    metadata: dict[str, Any]
    links: JobLinks


class JobList(Listing):
    """One page of jobs, newest first."""

    data: list[JobObject]
