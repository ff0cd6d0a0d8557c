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


# Lines are first summed in bins that every zone's hours and dates are made of: offsets are whole
# minutes, of today's zones quarters of an hour. Telling the zone's time of each line took longer
# than all the rest.
_BINS: Final = {
    Bucket.MINUTE: "date_bin('1 minute', l.settled_at, timestamptz '2000-01-01Z')",
    Bucket.HOUR: "date_bin('15 minutes', l.settled_at, timestamptz '2000-01-01Z')",
    Bucket.DAY: "date_bin('15 minutes', l.settled_at, timestamptz '2000-01-01Z')",
    Bucket.ALL: "timestamptz '2000-01-01Z'",  # the same on every page, whenever it is asked for
}
_BUCKETS: Final = {
    Bucket.MINUTE: "bin",
    Bucket.HOUR: "date_trunc('hour', bin, :zone)",
    Bucket.DAY: "CAST(bin AT TIME ZONE :zone AS date)",
    Bucket.ALL: "bin",
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
_MEASURES: Final = """
    count(*) AS jobs, sum(l.charged) AS tokens, sum(l.gpu_us) AS gpu_us,
    count(*) FILTER (WHERE l.outcome IN ('failed', 'expired')) AS failures,
    count(*) FILTER (WHERE l.cached) AS cache_hits
"""
_SUMS: Final = ", ".join(
    f"sum({name}) AS {name}" for name in ("jobs", "tokens", "gpu_us", "failures", "cache_hits")
)
_CHUNK: Final = 1000


def usage_rows(
    session: Session,
    question: Question,
    *,
    limit: int | None = None,
    after: Sequence[str] | None = None,
) -> Iterator[UsageRow]:
    """Rows by time, then group; without a limit read as they are needed, a thousand at a time.

    Args:
        session: its transaction must stay open while rows are read.
        question: what is asked.
        limit: at most so many rows.
        after: the ``place`` of the last row already seen.
    """
    statement, values = _statement(question, limit=limit, after=after)
    # Reading from a cursor keeps memory small and keeps PostgreSQL from working in parallel.
    options = {"yield_per": _CHUNK} if limit is None else {}
    rows = session.execute(text(statement), values, execution_options=options)
    for row in rows.mappings():
        yield _row(row, question)


def _statement(
    question: Question, *, limit: int | None, after: Sequence[str] | None
) -> tuple[str, dict[str, Any]]:
    groups = [_COLUMNS[dimension] for dimension in question.group_by]
    names = [f"k{number}" for number in range(1, len(groups) + 1)]
    taken = ", ".join(["bin", *names])
    named = ", ".join(f"{group} AS {name}" for group, name in zip(groups, names, strict=True))
    order = ", ".join(["k0", *names])
    values: dict[str, Any] = {"since": question.since, "until": question.until}
    if question.bucket in {Bucket.HOUR, Bucket.DAY}:
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
        # Nothing before the bucket of the last row can come after it.
        values["since"] = max(question.since, _start_of(after[0], question))
        beyond, more = _beyond(question, len(groups) + 1, after)
        values |= more
    needs_wallet = Dimension.TENANT in {*question.group_by, *question.only}
    wallet = " JOIN billing.wallet w ON w.id = l.wallet" if needs_wallet else ""
    statement = f"""
        SELECT * FROM (
            SELECT {_BUCKETS[question.bucket]} AS {order}, {_SUMS} FROM (
                SELECT {_BINS[question.bucket]} AS bin{named and ", " + named}, {_MEASURES}
                  FROM billing.usage_line l{wallet}
                 WHERE {" AND ".join(where)}
                 GROUP BY {taken}) binned
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


def _start_of(place: str, question: Question) -> datetime:
    day = question.bucket is Bucket.DAY
    key = date.fromisoformat(place) if day else datetime.fromisoformat(place)
    return _start(key, question.zone)


def _row(row: RowMapping, question: Question) -> UsageRow:
    key = row["k0"]
    group = tuple(row[f"k{number}"] for number in range(1, len(question.group_by) + 1))
    return UsageRow(
        start=question.since if question.bucket is Bucket.ALL else _start(key, question.zone),
        group=group,
        jobs=int(row["jobs"]),
        tokens=MicroTokens(int(row["tokens"])),
        gpu_us=int(row["gpu_us"]),
        failures=int(row["failures"]),
        cache_hits=int(row["cache_hits"]),
        place=(key.isoformat(), *group),
    )


def _start(key: date | datetime, zone: str) -> datetime:
    """A local date begins with its first midnight, or with what stands for it."""
    if isinstance(key, datetime):
        return key.astimezone(UTC)
    return datetime.combine(key, time(), ZoneInfo(zone)).astimezone(UTC)
