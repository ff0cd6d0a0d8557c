"""What a caller may ask for: the body of ``POST /v1/jobs`` and of ``POST /v1/quotes``.

Strict and closed: an unknown field, a number written as a string or a NUL inside a text is refused.
``params`` stay open here, the engine's own model checks them (``app.catalog``).
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

URL_LENGTH_MAX = 2048
METADATA_KEYS_MAX = 50
METADATA_KEY_LENGTH_MAX = 64
METADATA_VALUE_BYTES_MAX = 1024
METADATA_NUMBER_MAX = 2**63
TOKENS_MAX = 1_000_000_000
WEBHOOK_SECRET_BYTES = range(24, 65)

JobEvent = Literal[
    "job.started", "job.progress", "job.succeeded", "job.failed", "job.canceled", "job.expired"
]

_CONTROL = re.compile(r"[\x00-\x20\x7f\\]")


def _clean_text(value: str) -> str:
    if "\x00" in value:
        raise ValueError("the character NUL is not allowed")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("a lone surrogate is not a character")
    return value


Text = Annotated[str, AfterValidator(_clean_text)]


def _web_address(value: str) -> str:
    if _CONTROL.search(value):
        raise ValueError("an address holds no spaces, control characters or backslashes")
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("give an absolute https address, for example https://example.com/a.png")
    if parts.username is not None or parts.password is not None:
        raise ValueError("put no user name or password into an address")
    return value


WebAddress = Annotated[Text, Field(max_length=URL_LENGTH_MAX), AfterValidator(_web_address)]


def _webhook_secret(value: str) -> str:
    encoded = value.removeprefix("whsec_")
    try:
        secret = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) not in WEBHOOK_SECRET_BYTES:
        raise ValueError("give whsec_ followed by the base64 of 24 to 64 bytes")
    return f"whsec_{encoded}"


def _tokens(value: object) -> object:
    """JSON numbers only, as decimals; more than 6 places cannot be a number of tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("give a number of tokens, for example 12.5")  # noqa: TRY004 - pydantic
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("give a finite number of tokens")
    return Decimal(str(value))


Tokens = Annotated[
    Decimal, BeforeValidator(_tokens), Field(ge=0, le=TOKENS_MAX, max_digits=16, decimal_places=6)
]


def _metadata(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > METADATA_KEYS_MAX:
        raise ValueError(f"at most {METADATA_KEYS_MAX} keys")
    for key, entry in value.items():
        if not 0 < len(_clean_text(key)) <= METADATA_KEY_LENGTH_MAX:
            raise ValueError(f"a key has 1 to {METADATA_KEY_LENGTH_MAX} characters")
        _check_metadata_value(key, entry)
    return value


def _check_metadata_value(key: str, entry: object) -> None:
    match entry:
        case str():
            if len(_clean_text(entry).encode()) > METADATA_VALUE_BYTES_MAX:
                raise ValueError(f"{key!r} is longer than {METADATA_VALUE_BYTES_MAX} bytes")
        case bool() | int() | float():
            if not abs(entry) <= METADATA_NUMBER_MAX:  # "not <=" also refuses NaN
                raise ValueError(f"{key!r} is not a number that can be kept")
        case _:
            raise ValueError(f"{key!r} must be a text, a number, true or false")


def _as_list(value: object) -> object:
    return [value] if isinstance(value, Mapping) else value


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Ref(_Closed):
    """One input: an uploaded file, an address to fetch, or the bytes themselves."""

    file: Text | None = Field(None, description="id of an uploaded file", max_length=64)
    url: WebAddress | None = Field(None, description="fetched once, at submit")
    data: Text | None = Field(None, description="data:image/png;base64,...")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if sum(value is not None for value in (self.file, self.url, self.data)) != 1:
            raise ValueError("give exactly one of file, url and data")
        return self


class JobInput(_Closed):
    """The inputs by role."""

    target: Ref = Field(description="the picture or video to work on")
    source: Annotated[list[Ref], BeforeValidator(_as_list)] = Field(
        default=[], max_length=16, description="the face or faces to take; one reference or a list"
    )


class _Webhook(_Closed):
    url: WebAddress
    secret: Annotated[Text, AfterValidator(_webhook_secret)] | None = Field(
        None, description="null: the tenant's default secret signs", max_length=128
    )


class JobWebhook(_Webhook):
    """Where this job's events go, besides the tenant's endpoints."""

    events: list[JobEvent] = Field(default=[], max_length=16, description="empty: the final one")


class BatchWebhook(_Webhook):
    """Where the one event of a batch goes, besides the tenant's endpoints."""

    events: list[Literal["batch.completed"]] = Field(default=[], max_length=1)


class JobRequest(_Closed):
    """One job as its caller describes it."""

    engine: Text = Field(max_length=64, description="face-swap, colorize, detect")
    model: Text | None = Field(None, max_length=128, description="name or name@version")
    input: JobInput
    params: dict[str, Any] = Field(default={}, description="see the engine in GET /v1/models")
    priority: Literal["interactive", "normal", "bulk", "nightly"] = "normal"
    token_quota: Tokens | None = Field(None, description="refuse when the quote is higher")
    start_deadline_s: int | None = Field(None, ge=1, le=30 * 86_400)
    max_runtime_s: int | None = Field(
        None, ge=1, le=86_400, description="of the run, or of each segment of a video in segments"
    )
    segments: int | None = Field(
        None,
        ge=1,
        le=64,
        description="into how many parts a video is cut that run side by side; 1: never cut, null:"
        " by the time it is expected to take",
    )
    webhook: JobWebhook | None = None
    project: Text | None = Field(None, max_length=128)
    user: Text | None = Field(None, max_length=128, description="your own tag of your end user")
    metadata: Annotated[dict[str, Any], AfterValidator(_metadata)] = Field(default={})
    cache: bool = Field(
        default=True,
        description="false: compute anew even if the same was computed within 24 hours, and charge",
    )
    consent: bool = Field(
        default=False, description="the persons shown agreed; face jobs need it true"
    )
