"""A calibration for people: a report, and the proposed version as TOML. Pure.

The TOML is what ``pixelmeter ratecards preview`` and ``publish`` read; nothing is published here.
"""

import json
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from app.calibration.fit import HELD_OUT, NEAR, PERCENTILES, Calibration, Errors
from billing.rates import RateCard

_LISTS = ("terms", "batch_discounts", "ceilings")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
# As people write a card; the database keeps its own order.
_ORDER = (
    *("name", "quantity", "unit", "tokens", "when", "tables", "multiply", "divide", "over", "each"),
    *("rebate", "engines", "quantum", "minimum", "items", "percent", "per", "amount"),
)


def report(found: Calibration) -> str:
    """The fitted numbers and how far prices are from costs on the runs held out."""
    rate = f"{found.tokens_per_second:.6g} tokens for a second of compute"
    lines = [
        f"{found.card.id} on {len(found.points.cost)} runs at {rate}",
        "",
        f"{'number of the card':<34}{'now':>14}{'fitted':>14}{'runs':>8}",
    ]
    lines += [
        f"{each.unknown.name(found.card):<34}{_short(each.before):>14}{_short(each.after):>14}"
        f"{each.runs:>8}"
        for each in found.fitted
    ]
    columns = "".join(f"{f'p{percent}':>9}" for percent in PERCENTILES)
    near = f"within {NEAR:.0%}"
    lines += [
        "",
        f"(price - cost) / cost on the {found.after.runs} runs held out (every {HELD_OUT}th)",
        f"{'':<34}{columns}{near:>13}",
        _errors("now", found.before),
        _errors("fitted", found.after),
    ]
    return "\n".join(lines)


def proposal_toml(found: Calibration, body: Mapping[str, Any]) -> str:
    """The next version as a file: the data of the card in force with the fitted numbers."""
    card = found.proposed
    data = {name: value for name, value in body.items() if name != "default_for"}
    data["terms"] = [_term(term, card, index) for index, term in enumerate(body["terms"])]
    near = f"{found.before.near:.0%} now, {found.after.near:.0%} with these numbers"
    head = [
        f"# Proposed by calibration from {len(found.points.cost)} recorded runs.",
        f"# Within {NEAR:.0%} of the cost, on {found.after.runs} runs held out: {near}.",
        f"card = {_value(card.card)}",
        f"version = {card.version}",
    ]
    return "\n".join([*head, *_toml(data)]) + "\n"


def _term(data: Mapping[str, Any], card: RateCard, index: int) -> dict[str, Any]:
    term = card.terms[index]
    changed = {**data, "tokens": _exact(term.tokens)}
    if term.tables:
        changed["tables"] = {
            attribute: {value: _exact(factor) for value, factor in table.items()}
            for attribute, table in term.tables.items()
        }
    return changed


def _toml(data: Mapping[str, Any]) -> Iterator[str]:
    """The shape of a card, and no other: values, the rounding, lists of tables."""
    yield from _pairs({k: v for k, v in data.items() if k != "rounding" and k not in _LISTS})
    yield "\n[rounding]"
    yield from _pairs(data["rounding"])
    for name in _LISTS:
        for each in data.get(name, ()):
            yield f"\n[[{name}]]"
            yield from _pairs(each)


def _pairs(table: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(table, key=_ORDER.index):
        yield f"{name} = {_value(table[name])}"


def _value(value: object) -> str:
    """Texts, numbers, lists and inline tables; JSON's strings are strings of TOML too."""
    if isinstance(value, Mapping):
        inside = ", ".join(f"{_key(str(k))} = {_value(v)}" for k, v in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name)


def _errors(name: str, found: Errors) -> str:
    shares = "".join(f"{share:>+9.1%}" for share in found.percentiles)
    return f"{name:<34}{shares}{found.near:>13.1%}"


def _exact(value: Fraction) -> str:
    """A decimal with at most 9 places, or the fraction it is."""
    shown = f"{float(value):.9f}".rstrip("0").rstrip(".")
    return shown if Fraction(shown) == value else f"{value.numerator}/{value.denominator}"


def _short(value: Fraction) -> str:
    return f"{float(value):.6g}"
