"""Sums of what was charged, by time and by whatever a usage line says. Reads only.

A line counts at the moment it was settled, so the tokens of a period are the captures that the
ledger booked in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens


class Bucket(StrEnum):
    """How long a row's time is, in the zone of the report."""

    MINUTE = "1m"
    HOUR = "1h"
    DAY = "1d"  # a local date: 23 to 25 hours where clocks change
    ALL = "all"  # the whole period


class Dimension(StrEnum):
    """What lines are told apart by."""

    TENANT = "tenant"
    PROJECT = "project"
    API_KEY = "api_key"
    END_USER = "end_user"
    ENGINE = "engine"
    MODEL = "model"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class Question:
    """Which lines, and how they are summed; ``since`` <= settled < ``until``."""

    since: datetime
    until: datetime
    zone: str
    bucket: Bucket = Bucket.DAY
    group_by: tuple[Dimension, ...] = ()
    only: Mapping[Dimension, str] = field(default_factory=dict)
    tenant: str | None = None  # None: every tenant's


@dataclass(frozen=True, slots=True)
class UsageRow:
    """One sum. ``place`` is its position in the order of the report."""

    start: datetime  # of its bucket, in UTC
    group: tuple[str, ...]  # values of ``Question.group_by``; "" for none
    jobs: int
    tokens: MicroTokens
    gpu_us: int
    failures: int
    cache_hits: int
    place: tuple[str, ...]


_BUCKETS: Final = {
    Bucket.MINUTE: "date_trunc('minute', l.settled_at, :zone)",
    Bucket.HOUR: "date_trunc('hour', l.settled_at, :zone)",
    Bucket.DAY: "CAST(l.settled_at AT TIME ZONE :zone AS date)",
    Bucket.ALL: "CAST(:since AS timestamptz)",
}
_TYPES: Final = {Bucket.DAY: "date"}  # else timestamptz
_COLUMNS: Final = {
    Dimension.TENANT: "w.tenant",
    Dimension.PROJECT: "coalesce(l.project, '')",
    Dimension.API_KEY: "coalesce(l.api_key, '')",
    Dimension.END_USER: "coalesce(l.end_user, '')",
    Dimension.ENGINE: "l.engine",
    Dimension.MODEL: "l.model",
    Dimension.DEVICE: "l.device",
}
_CHUNK: Final = 1000


def usage_rows(
    session: Session,
    question: Question,
    *,
    limit: int | None = None,
    after: Sequence[str] | None = None,
) -> Iterator[UsageRow]:
    """Rows by time, then group; read as they are needed, a thousand at a time.

    Args:
        session: its transaction must stay open while rows are read.
        question: what is asked.
        limit: at most so many rows.
        after: the ``place`` of the last row already seen.
    """
    statement, values = _statement(question, limit=limit, after=after)
    rows = session.execute(text(statement), values, execution_options={"yield_per": _CHUNK})
    for row in rows.mappings():
        yield _row(row, question)


def _statement(
    question: Question, *, limit: int | None, after: Sequence[str] | None
) -> tuple[str, dict[str, Any]]:
    groups = [_COLUMNS[dimension] for dimension in question.group_by]
    keys = [_BUCKETS[question.bucket], *groups]
    named = ", ".join(f"{key} AS k{number}" for number, key in enumerate(keys))
    order = ", ".join(f"k{number}" for number in range(len(keys)))
    values: dict[str, Any] = {"since": question.since, "until": question.until}
    if question.bucket in {Bucket.MINUTE, Bucket.HOUR, Bucket.DAY}:
        values["zone"] = question.zone
    where = ["l.settled_at >= :since", "l.settled_at < :until"]
    if question.tenant is not None:
        where.append("l.wallet = (SELECT id FROM billing.wallet WHERE tenant = :tenant)")
        values["tenant"] = question.tenant
    for dimension, wanted in question.only.items():
        where.append(f"{_COLUMNS[dimension]} = :only_{dimension.value}")
        values[f"only_{dimension.value}"] = wanted
    beyond = ""
    if after is not None:
        beyond, more = _beyond(question, len(keys), after)
        values |= more
    needs_wallet = Dimension.TENANT in {*question.group_by, *question.only}
    wallet = " JOIN billing.wallet w ON w.id = l.wallet" if needs_wallet else ""
    # Sums outside of the keys, so that what each key is stands in the statement once.
    statement = f"""
        SELECT * FROM (
            SELECT {named}, count(*) AS jobs, sum(l.charged) AS tokens, sum(l.gpu_us) AS gpu_us,
                   count(*) FILTER (WHERE l.outcome IN ('failed', 'expired')) AS failures,
                   count(*) FILTER (WHERE l.cached) AS cache_hits
              FROM billing.usage_line l{wallet}
             WHERE {" AND ".join(where)}
             GROUP BY {order}) summed
        {beyond}
        ORDER BY {order} {"" if limit is None else "LIMIT :limit"}
    """  # noqa: S608 - constants of this module; what callers wrote is in the values
    if limit is not None:
        values["limit"] = limit
    return statement, values


def _beyond(question: Question, count: int, after: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The condition that leaves out what was seen: rows compare as their keys do."""
    kind = _TYPES.get(question.bucket, "timestamptz")
    places = [f"CAST(:after0 AS {kind})", *(f":after{number}" for number in range(1, count))]
    keys = ", ".join(f"k{number}" for number in range(count))
    values = {f"after{number}": value for number, value in enumerate(after)}
    return f"WHERE ({keys}) > ({', '.join(places)})", values


def _row(row: RowMapping, question: Question) -> UsageRow:
    key = row["k0"]
    group = tuple(row[f"k{number}"] for number in range(1, len(question.group_by) + 1))
    return UsageRow(
        start=_start(key, question.zone),
        group=group,
        jobs=row["jobs"],
        tokens=MicroTokens(int(row["tokens"])),
        gpu_us=int(row["gpu_us"]),
        failures=row["failures"],
        cache_hits=row["cache_hits"],
        place=(key.isoformat(), *group),
    )


def _start(key: date | datetime, zone: str) -> datetime:
    """A local date begins with its first midnight, or with what stands for it."""
    if isinstance(key, datetime):
        return key.astimezone(UTC)
    return datetime.combine(key, time(), ZoneInfo(zone)).astimezone(UTC)
