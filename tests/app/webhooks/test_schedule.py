from datetime import UTC, datetime, timedelta

import pytest

from app.webhooks.schedule import next_attempt_delay, retry_after

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_the_waits_are_those_of_the_table() -> None:
    waits = [next_attempt_delay(number, jitter=0.0) for number in range(1, 11)]
    hours = [None if wait is None else wait / timedelta(hours=1) for wait in waits]
    assert hours[0] == pytest.approx(5 / 3600)
    assert hours[1] == pytest.approx(5 / 60)
    assert hours[2] == 0.5
    assert hours[3:9] == [2, 5, 10, 14, 20, 24]
    assert hours[9] is None


def test_jitter_moves_a_wait_by_a_fifth_at_most() -> None:
    assert next_attempt_delay(3, jitter=-1.0) == timedelta(minutes=24)
    assert next_attempt_delay(3, jitter=1.0) == timedelta(minutes=36)


def test_a_replayed_exhausted_delivery_gets_one_attempt() -> None:
    assert next_attempt_delay(11, jitter=0.0) is None


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0),
        ("", 0),
        ("120", 120),
        (" 120 ", 120),
        ("-5", 0),
        ("1e9", 0),
        ("soon", 0),
        ("999999999999999999999999", 86400),
        ("100000", 86400),
        ("\u0661\u0662", 0),
        ("Sun, 22 Nov 2026 12:10:00 GMT", 600),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2099 11:00:00 GMT", 86400),
        ("Sun, 99 Foo 2026 99:99:99 GMT", 0),
    ],
)
def test_retry_after_is_clamped_and_never_an_error(header: str | None, seconds: int) -> None:
    assert retry_after(header, now=NOW) == timedelta(seconds=seconds)
