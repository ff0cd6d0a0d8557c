"""How times are written for people and programs outside."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """An aware time in UTC with milliseconds: ``2026-11-26T03:00:00.000Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rfc3339_or_none(moment: datetime | None) -> str | None:
    """As ``rfc3339``; None stays None."""
    return None if moment is None else rfc3339(moment)
