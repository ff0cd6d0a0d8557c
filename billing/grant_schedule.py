"""When a rule grants: the local dates that are due, in any zone, across any change of the clock.

Pure. A date begins at its first instant in the zone: where midnight is skipped that is the moment
of the change, where it happens twice the first of the two. A date that a zone never had (it moved
across the date line) is not due. Who was granted a date is not granted it again in another zone.
"""

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

CATCH_UP: Final = timedelta(days=7)
_DAY: Final = timedelta(days=1)
_WIDEST_OFFSET: Final = timedelta(days=1)  # no zone is further from UTC


class RuleKind(StrEnum):
    """What makes a rule's grant due."""

    DAILY = "daily"  # each local date
    MONTHLY = "monthly"  # one day of each month
    REWARD = "reward"  # each local date, to who did enough on the date before
    CAMPAIGN = "campaign"  # once


@dataclass(frozen=True, slots=True)
class Timing:
    """What of a rule decides when it grants and how long that can be spent."""

    kind: RuleKind
    starts_at: datetime  # due after this
    ends_at: datetime | None = None  # and before this
    month_day: int | None = None  # monthly: 1 to 31; a shorter month grants on its last day
    lifetime_days: int | None = None  # local dates that a grant lasts; None: it does not expire
    expires_at: datetime | None = None  # campaign: one end for everybody


@dataclass(frozen=True, slots=True)
class Due:
    """One grant of a rule in one zone."""

    local_date: date  # the key of the grant, with rule and wallet
    due_at: datetime  # UTC
    expires_at: datetime | None
    counts_from: datetime  # a reward counts what ended since this and before ``due_at``


def start_of(day: date, zone: ZoneInfo) -> datetime:
    """The first instant of a local date, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def due(timing: Timing, zone: ZoneInfo, *, now: datetime) -> list[Due]:
    """What is due at ``now``, at most ``CATCH_UP`` old, oldest first; granted already or not."""
    if timing.kind is RuleKind.CAMPAIGN:
        return _campaign(timing, now=now)
    since = max(timing.starts_at, now - CATCH_UP)
    until = now if timing.ends_at is None else min(now, timing.ends_at)
    return [
        Due(day, start, _end_of(timing, day, zone), start_of(day - _DAY, zone))
        for day, start in _dates(zone, since=since, until=until)
        if timing.kind is not RuleKind.MONTHLY or day.day == _day_in_month(timing, day)
    ]


def _dates(zone: ZoneInfo, *, since: datetime, until: datetime) -> Iterator[tuple[date, datetime]]:
    """The local dates that begin after ``since`` and not after ``until``."""
    day, last = (since - _WIDEST_OFFSET).date(), (until + _WIDEST_OFFSET).date()
    start = start_of(day, zone)
    while day <= last:
        following = start_of(day + _DAY, zone)
        if since < start <= until and start < following:
            yield day, start
        day, start = day + _DAY, following


def _day_in_month(timing: Timing, day: date) -> int:
    assert timing.month_day is not None  # noqa: S101 - a monthly rule has one
    return min(timing.month_day, calendar.monthrange(day.year, day.month)[1])


def _end_of(timing: Timing, day: date, zone: ZoneInfo) -> datetime | None:
    if timing.lifetime_days is None:
        return None
    return start_of(day + timing.lifetime_days * _DAY, zone)


def _campaign(timing: Timing, *, now: datetime) -> list[Due]:
    """Its date is the UTC date of its start, whatever zone: nobody gets it twice by moving."""
    over = [end for end in (timing.ends_at, timing.expires_at) if end is not None and end <= now]
    if over or not timing.starts_at <= now < timing.starts_at + CATCH_UP:
        return []
    start = timing.starts_at
    return [Due(start.astimezone(UTC).date(), start, timing.expires_at, start)]
