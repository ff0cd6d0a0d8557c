"""A job as a row: what ``service``, ``lifecycle`` and ``queries`` hand out and ``view`` renders."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Result

# Keyed by the column names of the table ``job`` ("metadata", not "tags").
JobRow = Mapping[str, Any]


def one_row(result: Result[Any]) -> dict[str, Any] | None:
    """The only row of a result, keyed by column name; None when there is none."""
    row = result.one_or_none()
    return None if row is None else row._asdict()


def all_rows(result: Result[Any]) -> list[dict[str, Any]]:
    """Every row of a result, keyed by column name."""
    return [row._asdict() for row in result]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is."""

    done: int
    total: int
    unit: str
    fps: float | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a worker needs to run the attempt it now owns."""

    job_id: str
    tenant_id: str
    attempt: int  # the fence of every later write
    engine: str
    model: str  # name@version
    tenant_model_id: str | None  # the tenant's own, not one of the platform's
    params: dict[str, Any]
    inputs: dict[str, Any]  # {"target": file id, "source": [file ids]}
    use_cache: bool  # an earlier result of the same question may be given
    max_runtime_s: int | None
    priority: str
    segments_wanted: int | None  # None: by estimated time
    created_at: datetime
    queue_ms: int  # from submit to the first start, by the database's clock


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job whose lease ran out, and what became of it."""

    job_id: str
    attempt: int  # the one that was lost
    status: str  # queued again, or failed, or canceled because that was asked for
