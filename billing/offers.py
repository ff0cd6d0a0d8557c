"""What can be bought beside a month's usage: packs and subscription plans, as data. Pure."""

from calendar import monthrange
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final

from billing.errors import InvalidRuleError
from billing.rule_data import number, only, whole, word

_MONTHS: Final = 12


class Cycle(StrEnum):
    """How long a cycle of a subscription is; its end is the same day of a later month."""

    MONTH = "month"
    YEAR = "year"


@dataclass(frozen=True, slots=True)
class Pack:
    """Tokens bought at once, at the price of the band of ``price_list`` that they reach."""

    tokens: int
    price_list: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A subscription: so many tokens each cycle, or without limit up to a fair use each day."""

    cycle: Cycle
    fee: Fraction  # yuan a cycle
    tokens: int | None  # a cycle; what is left of them ends with it
    daily_tokens: int | None  # fair use: as many each day, not accumulated


def read_pack(body: Mapping[str, Any]) -> Pack:
    """A pack from its data.

    Raises:
        InvalidRuleError: something of it cannot be.
    """
    only(body, {"tokens", "price_list"})
    return Pack(tokens=whole(body, "tokens"), price_list=word(body, "price_list"))


def read_plan(body: Mapping[str, Any]) -> Plan:
    """A subscription plan from its data: either ``tokens`` or ``daily_tokens``.

    Raises:
        InvalidRuleError: something of it cannot be.
    """
    only(body, {"cycle", "fee", "tokens", "daily_tokens"})
    cycle = word(body, "cycle")
    if cycle not in set(Cycle):
        raise InvalidRuleError(f"a cycle is one of {', '.join(Cycle)}, not {cycle!r}")
    if ("tokens" in body) == ("daily_tokens" in body):
        raise InvalidRuleError("a plan has tokens a cycle, or daily_tokens as its fair use")
    return Plan(
        cycle=Cycle(cycle),
        fee=number(body, "fee"),
        tokens=whole(body, "tokens") if "tokens" in body else None,
        daily_tokens=whole(body, "daily_tokens") if "daily_tokens" in body else None,
    )


def read_list_choice(body: Mapping[str, Any]) -> str:
    """Which price list a tenant is on.

    Raises:
        InvalidRuleError: it names none.
    """
    only(body, {"price_list"})
    return word(body, "price_list")


def cycle_at(cycle: Cycle, started_on: date, today: date) -> tuple[date, date]:
    """First day of the cycle that ``today`` lies in, and of the next one.

    Counted from the first day each time, so that the 31st comes back after a short month.
    """
    step = 1 if cycle is Cycle.MONTH else _MONTHS
    months = (today.year - started_on.year) * _MONTHS + today.month - started_on.month
    count = months // step
    while _later(started_on, count * step) > today:
        count -= 1
    return _later(started_on, count * step), _later(started_on, (count + 1) * step)


def _later(day: date, months: int) -> date:
    index = day.year * _MONTHS + day.month - 1 + months
    year, month = divmod(index, _MONTHS)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
