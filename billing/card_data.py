"""From the data of a card (TOML or JSON) to a ``RateCard``, checked.

Numbers are strings, so that they are exact: "0.175", or a fraction such as "2/30".
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from billing.errors import InvalidCardError
from billing.rates import BatchDiscount, RateCard, Rounding, Term

_CARD_KEYS = {"engines", "default_for", "rounding", "terms", "batch_discounts"}
_WHOLE = 100  # percent
_TERM_KEYS = {
    "name", "quantity", "unit", "tokens", "when", "tables", "multiply", "divide", "over", "each",
    "rebate",
}  # fmt: skip


def read_card(body: Mapping[str, Any], *, card: str, version: int) -> RateCard:
    """Build a card from its data.

    Raises:
        InvalidCardError: a key is unknown or missing, a number is negative or no number, or no
            term is left.
    """
    _only(body, _CARD_KEYS, f"rate card {card}")
    try:
        rounding = body["rounding"]
        result = RateCard(
            card=card,
            version=version,
            engines=frozenset(body["engines"]),
            terms=tuple(_term(term) for term in body["terms"]),
            rounding=Rounding(
                quantum=_number(rounding["quantum"]), minimum=_number(rounding["minimum"])
            ),
            batch_discounts=_discounts(body.get("batch_discounts", ())),
        )
    except KeyError as missing:
        raise InvalidCardError(f"rate card {card} lacks {missing}") from None
    if not result.terms or result.rounding.quantum == 0:
        raise InvalidCardError(f"rate card {card} needs a term and a rounding quantum above 0")
    return result


def _term(data: Mapping[str, Any]) -> Term:
    _only(data, _TERM_KEYS, f"term {data.get('name', '?')}")
    over = _number(data.get("over", "1"))
    each = _number(data["each"]) if "each" in data else None
    if over == 0 or each == 0:
        raise InvalidCardError(f"term {data['name']}: over and each must be above 0")
    return Term(
        name=data["name"],
        quantity=data["quantity"],
        unit=data["unit"],
        tokens=_number(data["tokens"]),
        when={name: frozenset(values) for name, values in data.get("when", {}).items()},
        tables={
            attribute: {value: _number(factor) for value, factor in table.items()}
            for attribute, table in data.get("tables", {}).items()
        },
        multiply=tuple(data.get("multiply", ())),
        divide=tuple(data.get("divide", ())),
        over=over,
        each=each,
        rebate=bool(data.get("rebate", False)),
    )


def _discounts(data: Sequence[Mapping[str, Any]]) -> tuple[BatchDiscount, ...]:
    steps = [BatchDiscount(int(step["items"]), _number(step["percent"])) for step in data]
    if any(step.percent > _WHOLE for step in steps):
        raise InvalidCardError("a batch discount is at most 100 percent")
    return tuple(sorted(steps, key=lambda step: step.items))


def _number(value: object) -> Fraction:
    """An exact number >= 0; a price is never negative, a rebate says so by name."""
    try:
        number = Fraction(value) if isinstance(value, str) else None
    except (ValueError, ZeroDivisionError):
        number = None
    if number is None or number < 0:
        raise InvalidCardError(f'a number of a card is a string >= 0 such as "0.7", not {value!r}')
    return number


def _only(data: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(set(data) - known)
    if unknown:
        raise InvalidCardError(f"{where} has unknown keys: {', '.join(unknown)}")
