"""When a webhook is tried again. Pure: the attempt's number and answer in, a delay out."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# The wait before each attempt, in seconds; after the last one the delivery is exhausted.
_MINUTE = 60
_HOUR = 3600
WAITS_S = (
    0,
    5,
    5 * _MINUTE,
    30 * _MINUTE,
    2 * _HOUR,
    5 * _HOUR,
    10 * _HOUR,
    14 * _HOUR,
    20 * _HOUR,
    24 * _HOUR,
)
JITTER = (
    0.2  # each wait is up to 20 % shorter or longer, so that failures do not return as one wave
)
MAX_RETRY_AFTER_S = 24 * _HOUR


def next_attempt_delay(number: int, *, jitter: float) -> timedelta | None:
    """The wait after attempt ``number`` (1 is the first) failed; None when none is left.

    ``jitter`` is a random number in [-1, 1].
    """
    if number >= len(WAITS_S):
        return None
    return timedelta(seconds=WAITS_S[number] * (1 + JITTER * jitter))


def retry_after(header: str | None, *, now: datetime) -> timedelta:
    """What a ``Retry-After`` header asks for, between zero and 24 hours; zero when unreadable."""
    if header is None:
        return timedelta()
    asked = _seconds(header.strip(), now)
    return timedelta(seconds=min(max(asked, 0.0), MAX_RETRY_AFTER_S))


def _seconds(text: str, now: datetime) -> float:
    if text.isascii() and text.isdigit():
        # The length first: int() of a long header is slow, and more than a day is a day anyway.
        return float(text) if len(text) < len(str(MAX_RETRY_AFTER_S)) + 1 else MAX_RETRY_AFTER_S
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
