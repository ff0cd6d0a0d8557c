from datetime import date

import pytest

from billing.errors import InvalidRuleError
from billing.offers import Cycle, cycle_at, read_pack, read_plan
from billing.publishing import shipped_rules


def test_what_is_shipped_can_be_bought():
    bodies = {(rule["kind"], rule["subject"]): rule["body"] for rule in shipped_rules()}
    packs = {
        name: read_pack(body).tokens for (kind, name), body in bodies.items() if kind == "pack"
    }
    assert packs == {"10k": 10_000, "100k": 100_000, "1m": 1_000_000}
    plans = {n: read_plan(b) for (k, n), b in bodies.items() if k == "subscription_plan"}
    assert {name: plan.tokens for name, plan in plans.items()} == {
        "monthly": 1_000,
        "yearly": 10_000,
        "vip": None,
    }
    assert plans["vip"].daily_tokens == 5_000


@pytest.mark.parametrize(
    ("cycle", "started", "today", "start", "end"),
    [
        (Cycle.MONTH, "2026-01-15", "2026-01-15", "2026-01-15", "2026-02-15"),
        (Cycle.MONTH, "2026-01-15", "2026-02-14", "2026-01-15", "2026-02-15"),
        (Cycle.MONTH, "2026-01-15", "2026-02-15", "2026-02-15", "2026-03-15"),
        (Cycle.MONTH, "2026-01-31", "2026-02-27", "2026-01-31", "2026-02-28"),
        (Cycle.MONTH, "2026-01-31", "2026-02-28", "2026-02-28", "2026-03-31"),
        (Cycle.MONTH, "2026-01-31", "2026-04-30", "2026-04-30", "2026-05-31"),
        (Cycle.MONTH, "2025-12-31", "2026-01-30", "2025-12-31", "2026-01-31"),
        (Cycle.YEAR, "2024-02-29", "2025-02-27", "2024-02-29", "2025-02-28"),
        (Cycle.YEAR, "2024-02-29", "2028-02-28", "2027-02-28", "2028-02-29"),
        (Cycle.YEAR, "2026-06-01", "2026-12-31", "2026-06-01", "2027-06-01"),
    ],
)
def test_the_cycle_of_a_day(cycle, started, today, start, end):
    days = [date.fromisoformat(day) for day in (started, today, start, end)]
    assert cycle_at(cycle, days[0], days[1]) == (days[2], days[3])


@pytest.mark.parametrize(
    "body",
    [
        {"cycle": "week", "fee": "1", "tokens": "1"},
        {"cycle": "month", "fee": "-1", "tokens": "1"},
        {"cycle": "month", "fee": "1"},
        {"cycle": "month", "fee": "1", "tokens": "1", "daily_tokens": "1"},
        {"cycle": "month", "fee": "1", "tokens": "0"},
        {"cycle": "month", "fee": "1", "tokens": "1.5"},
    ],
)
def test_a_plan_that_cannot_be_is_refused(body):
    with pytest.raises(InvalidRuleError):
        read_plan(body)
