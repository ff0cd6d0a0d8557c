"""Every local date once, whatever clocks and zones do; checked against a clock that is read."""

import random
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.grant_schedule import CATCH_UP, RuleKind, Timing, due, start_of

ZONES = (
    "Europe/Paris",
    "America/New_York",
    "America/Havana",  # changes at midnight: one date begins at 01:00, one has two midnights
    "Australia/Lord_Howe",  # changes by half an hour
    "Asia/Shanghai",  # never changes
)
BEGIN = datetime(2026, 1, 1, 9, 17, tzinfo=UTC)
END = datetime(2028, 1, 1, 9, 17, tzinfo=UTC)
TICK = timedelta(minutes=5)


def dates_seen_on_a_clock(zone: ZoneInfo, begin: datetime, end: datetime) -> list[date]:
    """The dates that a wall clock shows for the first time after ``begin``, read each quarter."""
    seen, shown = [], begin.astimezone(zone).date()
    at = begin
    while at < end:
        at += timedelta(minutes=15)
        today = at.astimezone(zone).date()
        if today > shown:
            seen.append(today)
            shown = today
    return seen


def ticks_with_outages(rng: random.Random, begin: datetime, end: datetime):
    """Every five minutes around midnights, hourly otherwise, with outages of one to six days."""
    at = begin
    while at < end:
        yield at
        if rng.random() < 0.0004:
            at += timedelta(days=rng.uniform(1, 6))
            continue
        near = any(abs((at.astimezone(ZoneInfo(z)).hour + 12) % 24 - 12) <= 1 for z in ZONES)
        at += TICK if near else timedelta(hours=1)
    yield end


@pytest.mark.parametrize("zone", ZONES)
def test_two_years_with_outages_and_two_schedulers_grant_each_date_once(zone: str) -> None:
    """Two schedulers tick by themselves and fail by themselves; the key keeps what was granted."""
    timing = Timing(RuleKind.DAILY, BEGIN, lifetime_days=1)
    here = ZoneInfo(zone)
    granted: dict[date, int] = {}
    ticks = sorted(
        (at, scheduler)
        for scheduler in (1, 2)
        for at in ticks_with_outages(random.Random(f"{zone} {scheduler}"), BEGIN, END)
    )
    looked: dict[int, datetime] = {}
    for at, scheduler in ticks:
        # Between two looks on the same date nothing can become due: spares most of the work.
        last = looked.get(scheduler)
        looked[scheduler] = at
        if last is not None and last.astimezone(here).date() == at.astimezone(here).date():
            continue
        for each in due(timing, here, now=at):
            if each.local_date not in granted:
                granted[each.local_date] = 1
                assert each.due_at <= at
                assert each.expires_at == start_of(each.local_date + timedelta(days=1), here)
    assert sorted(granted) == dates_seen_on_a_clock(here, BEGIN, END)


@pytest.mark.parametrize("zone", [*ZONES, "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_date_begins_when_the_clock_first_shows_it(zone: str) -> None:
    here = ZoneInfo(zone)
    for number in range(730):
        day = date(2026, 1, 1) + timedelta(days=number)
        start = start_of(day, here)
        assert start.astimezone(here).date() == day
        assert (start - timedelta(seconds=1)).astimezone(here).date() < day


def test_a_date_that_a_zone_never_had_is_not_due() -> None:
    timing = Timing(RuleKind.DAILY, datetime(2011, 12, 28, tzinfo=UTC))
    found = due(timing, ZoneInfo("Pacific/Apia"), now=datetime(2012, 1, 1, tzinfo=UTC))
    days = [each.local_date.day for each in found]
    assert days == [28, 29, 31, 1]  # Samoa went from the 29th to the 31st


moves = st.lists(
    st.tuples(
        st.sampled_from([*ZONES, "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"]),
        st.integers(1, 90),  # hours until the next look
    ),
    min_size=1,
    max_size=40,
)


@given(moves)
@settings(max_examples=150, deadline=None)
def test_moving_between_zones_never_doubles_a_date_nor_loses_one(moves) -> None:
    """Invariant 17. Between the first and the last date granted none is missing."""
    timing = Timing(RuleKind.DAILY, BEGIN)
    now, granted, times = BEGIN, set(), 0
    for zone, hours in moves:
        now += timedelta(hours=hours)
        for each in due(timing, ZoneInfo(zone), now=now):
            if each.local_date not in granted:
                granted.add(each.local_date)
                times += 1
    assert times == len(granted)
    if granted:
        days = (max(granted) - min(granted)).days + 1
        assert days == len(granted)
        # nobody is ahead of the earliest zone on Earth
        assert start_of(max(granted), ZoneInfo("Pacific/Kiritimati")) <= now


def test_a_month_that_is_too_short_grants_on_its_last_day() -> None:
    timing = Timing(RuleKind.MONTHLY, BEGIN, month_day=31)
    here = ZoneInfo("Europe/Paris")
    granted = {
        each.local_date
        for number in range(365)
        for each in due(timing, here, now=BEGIN + timedelta(days=number))
    }
    assert sorted((day.month, day.day) for day in granted) == [
        (1, 31), (2, 28), (3, 31), (4, 30), (5, 31), (6, 30),
        (7, 31), (8, 31), (9, 30), (10, 31), (11, 30), (12, 31),
    ]  # fmt: skip


def test_a_campaign_is_due_once_whatever_the_zone() -> None:
    start = datetime(2026, 3, 1, 23, tzinfo=UTC)
    timing = Timing(RuleKind.CAMPAIGN, start, expires_at=start + timedelta(days=3))
    for zone in ZONES:
        for hours, is_due in ((-1, False), (0, True), (71, True), (72, False)):
            found = due(timing, ZoneInfo(zone), now=start + timedelta(hours=hours))
            assert [each.local_date for each in found] == ([date(2026, 3, 1)] if is_due else [])


def test_nothing_is_due_before_the_start_after_the_end_or_after_a_week() -> None:
    here = ZoneInfo("UTC")
    noon = datetime(2026, 5, 10, 12, tzinfo=UTC)
    timing = Timing(RuleKind.DAILY, noon, ends_at=noon + timedelta(days=3))
    days = [each.local_date.day for each in due(timing, here, now=noon + timedelta(days=5))]
    assert days == [11, 12, 13]
    late = noon + timedelta(days=3) + CATCH_UP
    assert due(timing, here, now=late) == []
