"""Reading the data of a pricing rule: every value checked, every number exact. Pure.

Numbers are strings, as in rate cards: "0.8". An operator writes them; each refusal says which
member is wrong and what it should look like.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from fractions import Fraction
from typing import Any, Final

from billing.errors import EffectiveTooLateError, InvalidRuleError

# Short on purpose: "1e999999999" is a number too, and would take all memory there is.
_NUMBER: Final = re.compile(r"\d{1,12}(\.\d{1,6})?")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
FACTOR_MAX: Final = 100
PERCENT_MAX: Final = 1000
LAST_YEAR: Final = 2999


def check_horizon(start: datetime) -> None:
    """Refuse a beginning that no calendar of ours reaches: Python's ends with the year 9999."""
    if start.year > LAST_YEAR:
        raise EffectiveTooLateError(f"prices begin by the year {LAST_YEAR}, not {start.year}")


def only(body: object, known: set[str]) -> None:
    """Refuse members that nobody reads, and what is no object."""
    if not isinstance(body, Mapping):
        raise InvalidRuleError(f"a rule is an object with {', '.join(sorted(known))}")
    unknown = sorted(str(name) for name in set(body) - known)
    if unknown:
        raise InvalidRuleError(
            f"unknown in a rule: {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )


def members(body: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    """A list of objects."""
    value = body.get(name)
    if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
        raise InvalidRuleError(f"{name} must be a list of objects")
    return value


def word(body: Mapping[str, Any], name: str) -> str:
    """A text that is not empty."""
    value = body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise InvalidRuleError(f"{name} must be a text")
    return value


def number(body: Mapping[str, Any], name: str) -> Fraction:
    """An exact number >= 0 with at most 6 decimals."""
    value = body.get(name)
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise InvalidRuleError(
            f'{name} must be a number >= 0 in quotes with at most 6 decimals, such as "0.8",'
            f" not {value!r}"
        )
    return Fraction(value)


def whole(body: Mapping[str, Any], name: str) -> int:
    """A whole number > 0, in quotes."""
    value = number(body, name)
    if value.denominator != 1 or value == 0:
        raise InvalidRuleError(f"{name} must be a whole number above 0")
    return value.numerator


def factor(body: Mapping[str, Any], name: str) -> Fraction:
    """More than 0, so that nothing becomes free, and at most 100."""
    value = number(body, name)
    if not 0 < value <= FACTOR_MAX:
        raise InvalidRuleError(f"{name} must be above 0 and at most {FACTOR_MAX}")
    return value


def percentage(body: Mapping[str, Any], name: str) -> Fraction:
    """Above 0 and at most 1000."""
    value = number(body, name)
    if not 0 < value <= PERCENT_MAX:
        raise InvalidRuleError(f"{name} must be above 0 and at most {PERCENT_MAX}")
    return value


def share(body: Mapping[str, Any], name: str) -> Fraction:
    """From 0 to below 1."""
    value = number(body, name)
    if value >= 1:
        raise InvalidRuleError(f"{name} must be a share from 0 to below 1")
    return value


def clock_time(body: Mapping[str, Any], name: str) -> time:
    """An hour and minute, ``HH:MM``."""
    value = body.get(name)
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise InvalidRuleError(f'{name} must be a time such as "08:00", not {value!r}')
    return time(int(found[1]), int(found[2]))
