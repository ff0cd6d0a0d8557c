"""A job as a row: what ``service``, ``lifecycle`` and ``queries`` hand out and ``view`` renders."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# Keyed by the column names of the table ``job`` ("metadata", not "tags").
JobRow = Mapping[str, Any]


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
    params: dict[str, Any]
    inputs: dict[str, Any]  # {"target": file id, "source": [file ids]}
    max_runtime_s: int | None
    created_at: datetime
    queue_ms: int  # from submit to the first start, by the database's clock


@dataclass(frozen=True, slots=True)
class Rescued:
    """A job whose lease ran out, and what became of it."""

    job_id: str
    attempt: int  # the one that was lost
    status: str  # queued again, or failed, or canceled because that was asked for
