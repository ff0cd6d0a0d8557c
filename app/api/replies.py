"""Success answers: compact JSON, pages of lists. Handlers build the documents."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

PAGE_ROWS_MAX = 100
Row = TypeVar("Row")


class ListQuery(BaseModel):
    """The query of every list."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=PAGE_ROWS_MAX, description="Rows on one page.")
    after: str | None = Field(
        None, max_length=64, description="The next_cursor of the page before this one."
    )


def reply(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """One JSON document. It is not validated again: tests hold answers against the schemas."""
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Response(body, status=status, headers=headers, content_type="application/json")


def page(
    rows: Sequence[Row],
    *,
    limit: int,
    view: Callable[[Row], Mapping[str, Any]],
    cursor: Callable[[Row], str],
) -> Response:
    """One page of a list that was read with ``limit + 1`` rows."""
    shown = rows[:limit]
    more = len(rows) > limit
    return reply(
        {
            "data": [view(row) for row in shown],
            "next_cursor": cursor(shown[-1]) if more else None,
            "has_more": more,
        }
    )


def moment(at: datetime | None) -> str | None:
    """An aware time as RFC 3339 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
