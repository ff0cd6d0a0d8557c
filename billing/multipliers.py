"""Factors on a whole price: batch, time of day, GPU load, tenant. Pure, in this order.

Each is a rule as data (``billing.pricing_rules``), off unless somebody published one. They are
fixed with the quote: a job settles by the factors it was quoted with, whatever the hour has become.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from billing.errors import InvalidRuleError
from billing.rates import Multiplier, RateCard
from billing.rule_data import clock_time, factor, members, only, percentage, share

_PERCENT: Final = 100


@dataclass(frozen=True, slots=True)
class Band:
    """A part of the day, from ``start`` to before ``end``; an end of 00:00 is midnight."""

    start: time
    end: time
    factor: Fraction

    def covers(self, at: time) -> bool:
        """Whether the hour lies in the band; a band may run past midnight."""
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    @property
    def label(self) -> str:
        """As people write it, ``19:00-23:00``."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, slots=True)
class Step:
    """From more than ``above`` of the GPUs busy on."""

    above: Fraction
    factor: Fraction


@dataclass(frozen=True, slots=True)
class Rules:
    """The multipliers in force for one tenant; what is empty or None is off."""

    bands: tuple[Band, ...] = ()
    steps: tuple[Step, ...] = ()  # rising
    percent: Fraction | None = None  # of the price, for this tenant


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the price of a moment depends on, besides the work."""

    local_time: time | None = None  # in the tenant's zone; None: no rule asks
    zone: str = ""
    busy_share: Fraction | None = None  # 0..1 of the GPU workers; None: there are none
    batch_items: int = 1


def multipliers_for(
    card: RateCard, rules: Rules, circumstances: Circumstances
) -> tuple[Multiplier, ...]:
    """The factors that apply now, in the order in which they are multiplied; 1 is left out."""
    found = (
        _batch(card, circumstances),
        _time_of_day(rules.bands, circumstances),
        _gpu_load(rules.steps, circumstances),
        _tenant(rules.percent),
    )
    return tuple(each for each in found if each is not None and each.factor != 1)


def _batch(card: RateCard, circumstances: Circumstances) -> Multiplier | None:
    percent = card.batch_discount(circumstances.batch_items)
    detail = f"{circumstances.batch_items} items in one batch"
    return Multiplier("batch", 1 - percent / _PERCENT, detail)


def _time_of_day(bands: Sequence[Band], circumstances: Circumstances) -> Multiplier | None:
    at = circumstances.local_time
    if at is None:
        return None
    for band in bands:
        if band.covers(at):
            return Multiplier("time_of_day", band.factor, f"{band.label} {circumstances.zone}")
    return None


def _gpu_load(steps: Sequence[Step], circumstances: Circumstances) -> Multiplier | None:
    busy = circumstances.busy_share
    if busy is None:
        return None
    passed = [step for step in steps if busy > step.above]
    if not passed:
        return None
    detail = f"more than {float(passed[-1].above):.0%} of the GPUs are busy"
    return Multiplier("gpu_load", passed[-1].factor, detail)


def _tenant(percent: Fraction | None) -> Multiplier | None:
    if percent is None:
        return None
    return Multiplier("tenant", percent / _PERCENT, "your agreed price")


def read_bands(body: Mapping[str, Any]) -> tuple[Band, ...]:
    """Bands of the day; empty turns the rule off.

    Raises:
        InvalidRuleError: a time or factor that cannot be, or two bands that overlap.
    """
    only(body, {"bands"})
    bands = []
    for data in members(body, "bands"):
        only(data, {"from", "to", "factor"})
        band = Band(clock_time(data, "from"), clock_time(data, "to"), factor(data, "factor"))
        if band.start == band.end and band.start != time(0):
            raise InvalidRuleError(f"the band {band.label} is empty; 00:00-00:00 is the whole day")
        bands.append(band)
    for band in bands:
        if any(other is not band and other.covers(band.start) for other in bands):
            raise InvalidRuleError(f"the band {band.label} overlaps another")
    return tuple(bands)


def read_steps(body: Mapping[str, Any]) -> tuple[Step, ...]:
    """Steps of a load curve, rising; empty turns the rule off.

    Raises:
        InvalidRuleError: a share outside 0..1, a factor that cannot be, or steps that do not rise.
    """
    only(body, {"steps"})
    steps = []
    for data in members(body, "steps"):
        only(data, {"above", "factor"})
        steps.append(Step(share(data, "above"), factor(data, "factor")))
    if any(one.above >= two.above for one, two in pairwise(steps)):
        raise InvalidRuleError(
            "the steps of a load curve rise: each above more than the one before"
        )
    return tuple(steps)


def read_percent(body: Mapping[str, Any]) -> Fraction:
    """What share of the price a tenant pays: 80 is a fifth off, 100 turns the rule off.

    Raises:
        InvalidRuleError: no number above 0; nothing is ever free.
    """
    only(body, {"percent"})
    return percentage(body, "percent")


def multipliers_json(multipliers: Iterable[Multiplier]) -> list[dict[str, str]]:
    """As quotes, usage records and charges keep them: exact."""
    return [
        {"name": each.name, "factor": str(each.factor), "detail": each.detail}
        for each in multipliers
    ]


def read_multipliers(data: Iterable[Mapping[str, Any]]) -> tuple[Multiplier, ...]:
    """The other way."""
    return tuple(
        Multiplier(each["name"], Fraction(each["factor"]), each.get("detail", "")) for each in data
    )
