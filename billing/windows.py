"""The days and months that a cap counts in: local dates of a zone. Pure.

A window is named by its first local date, so nothing has to be reset at midnight and no change of
the clock makes a window twice or leaves one out. ``billing.window_of`` says the same in SQL.
"""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Period(StrEnum):
    """How long a window is."""

    DAY = "day"  # a local date
    MONTH = "month"  # a calendar month of local dates


def window_of(period: Period, zone: str, at: datetime) -> date:
    """The first local date of the window that ``at`` lies in."""
    local = at.astimezone(ZoneInfo(zone)).date()
    return local if period is Period.DAY else local.replace(day=1)


def starts_anew(period: Period, zone: str, window: date) -> datetime:
    """The first moment of the next window, in UTC.

    Midnight may come twice or not at all: the first one counts, or the moment that stands for it.
    """
    if period is Period.DAY:
        following = window + timedelta(days=1)
    else:
        following = (window.replace(day=28) + timedelta(days=4)).replace(day=1)
    return datetime.combine(following, time(), ZoneInfo(zone)).astimezone(UTC)
