"""The body of an event: a snapshot that fits into a webhook. Pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.timestamps import rfc3339
from app.webhooks.events import EventType

MAX_BODY_BYTES = 20_000
OMITTED = {"omitted": "too large for a webhook; fetch links.self"}


def render(event: EventType, *, at: datetime, sequence: int, data: Mapping[str, Any]) -> str:
    """Return the exact text that is stored, signed and sent, at any time the same.

    What makes a job too large for a webhook (hundreds of predictions, long metadata) is left out
    and says so; the job itself has it.
    """
    envelope: dict[str, Any] = {
        "type": event.value,
        "timestamp": rfc3339(at),
        "sequence": sequence,
        "data": dict(data),
    }
    body = _dump(envelope)
    for shorten in (_without_output_data, _without_metadata):
        if len(body.encode()) <= MAX_BODY_BYTES:
            break
        envelope["data"] = shorten(envelope["data"])
        body = _dump(envelope)
    return body


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _without_output_data(job: Mapping[str, Any]) -> dict[str, Any]:
    output = job.get("output")
    return {**job, "output": {**output, "data": OMITTED}} if output else dict(job)


def _without_metadata(job: Mapping[str, Any]) -> dict[str, Any]:
    return {**job, "metadata": OMITTED}
