"""Windows follow local dates through every change of the clock, in Python as in SQL."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.windows import Period, starts_anew, window_of

FROM = datetime(2011, 12, 29, 9, 59, 59, tzinfo=UTC)
ZONES = ["UTC", "Europe/Paris", "America/New_York", "America/Havana", "Australia/Lord_Howe",
         "Asia/Shanghai", "Pacific/Apia"]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "window", "moment"),
    [
        ("UTC", date(2026, 1, 31), "2026-02-01T00:00:00+00:00"),
        ("Asia/Shanghai", date(2026, 1, 31), "2026-01-31T16:00:00+00:00"),
        # the 25 hours of an autumn day
        ("Europe/Paris", date(2026, 10, 25), "2026-10-25T23:00:00+00:00"),
        # midnight does not exist: the day begins at 01:00
        ("America/Havana", date(2026, 3, 7), "2026-03-08T05:00:00+00:00"),
        # midnight comes twice: the day begins with the first
        ("America/Havana", date(2026, 10, 31), "2026-11-01T04:00:00+00:00"),
        # half an hour of difference
        ("Australia/Lord_Howe", date(2026, 10, 4), "2026-10-04T13:00:00+00:00"),
        # the date line was crossed: 30 December never was
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-30T10:00:00+00:00"),
    ],
)
def test_a_day_ends_when_the_next_local_date_begins(zone, window, moment):
    start = starts_anew(Period.DAY, zone, window)
    assert start.isoformat() == moment
    assert window_of(Period.DAY, zone, start - timedelta(microseconds=1)) == window
    assert window_of(Period.DAY, zone, start) > window


def test_a_month_ends_with_its_last_local_date():
    assert window_of(Period.MONTH, "Asia/Shanghai", datetime(2026, 1, 31, 16, tzinfo=UTC)) == date(
        2026, 2, 1
    )
    start = starts_anew(Period.MONTH, "Asia/Shanghai", date(2026, 12, 1))
    assert start == datetime(2026, 12, 31, 16, tzinfo=UTC)


@pytest.fixture(scope="module")
def sql(shared_engine):
    with Session(shared_engine) as session:
        yield session


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(list(Period)),
    at=st.integers(-9_000, 9_000_000).map(lambda minutes: FROM + timedelta(minutes=minutes)),
)
def test_sql_and_python_agree_on_every_moment(sql, zone, period, at):
    query = text("SELECT billing.window_of(:period, :zone, :at)")
    there = sql.scalar(query, {"period": period.value, "zone": zone, "at": at})
    assert there == window_of(period, zone, at)
    assert window_of(period, zone, starts_anew(period, zone, there)) > there
