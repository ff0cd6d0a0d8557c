"""From the data of a card (TOML or JSON) to a ``RateCard``, checked.

Numbers are strings, so that they are exact: "0.175", or a fraction such as "2/30". The data come
from operators: whatever is wrong with them is an ``InvalidCardError`` that names the place.
"""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final

from billing.errors import InvalidCardError, NegativePriceError
from billing.rates import BatchDiscount, Ceiling, RateCard, Rounding, Term

_CARD_KEYS = {"engines", "default_for", "rounding", "terms", "batch_discounts", "ceilings"}
_WHOLE = 100  # percent
_TERM_KEYS = {
    "name", "quantity", "unit", "tokens", "when", "tables", "multiply", "divide", "over", "each",
    "rebate",
}  # fmt: skip
# Short on purpose: "1e999999999" is a number too, and would take all memory there is.
_NUMBER: Final = re.compile(r"\d{1,15}(\.\d{1,12})?(/\d{1,15})?")
_NEGATIVE: Final = re.compile(r"-\s*\d")
_CARD_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def check_card_name(name: str) -> None:
    """Raises ``InvalidCardError`` for what ``card@version`` could not be taken apart again."""
    if not _CARD_NAME.fullmatch(name):
        raise InvalidCardError(f"a card is called like yolo or yolo-night, not {name!r}")


def read_card(body: Mapping[str, Any], *, card: str, version: int) -> RateCard:
    """Build a card from its data.

    Raises:
        InvalidCardError: a key is unknown or missing, a value is not what it should be, or no term
            is left; ``NegativePriceError`` for a number below 0.
    """
    where = f"rate card {card}"
    _only(body, _CARD_KEYS, where)
    rounding = _object(body, "rounding", where)
    _only(rounding, {"quantum", "minimum"}, f"the rounding of {where}")
    engines = _texts(body, "engines", where)
    terms = [_term(term) for term in _objects(body, "terms", where)]
    result = RateCard(
        card=card,
        version=version,
        engines=frozenset(engines),
        terms=tuple(terms),
        rounding=Rounding(
            quantum=_number(_member(rounding, "quantum", where)),
            minimum=_number(_member(rounding, "minimum", where)),
        ),
        batch_discounts=_discounts(_objects(body, "batch_discounts", where, needed=False)),
        ceilings=tuple(_ceiling(each) for each in _objects(body, "ceilings", where, needed=False)),
    )
    if not engines or not terms or result.rounding.quantum == 0:
        raise InvalidCardError(f"{where} needs an engine, a term and a rounding quantum above 0")
    return result


def _term(data: Mapping[str, Any]) -> Term:
    where = f"term {data.get('name', '?')}"
    _only(data, _TERM_KEYS, where)
    over = _number(data.get("over", "1"))
    each = _number(data["each"]) if data.get("each") is not None else None
    if over == 0 or each == 0:
        raise InvalidCardError(f"{where}: over and each must be above 0")
    rebate = data.get("rebate", False)
    if not isinstance(rebate, bool):
        raise InvalidCardError(f"{where}: rebate is true or false, not {rebate!r}")
    when = _object(data, "when", where, needed=False)
    tables = _object(data, "tables", where, needed=False)
    return Term(
        name=_text(data, "name", where),
        quantity=_text(data, "quantity", where),
        unit=_text(data, "unit", where),
        tokens=_number(_member(data, "tokens", where)),
        when={name: frozenset(_texts(when, name, where)) for name in when},
        tables={
            attribute: {
                str(value): _number(factor)
                for value, factor in _object(tables, attribute, where).items()
            }
            for attribute in tables
        },
        multiply=tuple(_texts(data, "multiply", where, needed=False)),
        divide=tuple(_texts(data, "divide", where, needed=False)),
        over=over,
        each=each,
        rebate=rebate,
    )


def _discounts(data: Sequence[Mapping[str, Any]]) -> tuple[BatchDiscount, ...]:
    steps = []
    for step in data:
        _only(step, {"items", "percent"}, "a batch discount")
        items = _member(step, "items", "a batch discount")
        if not isinstance(items, int) or isinstance(items, bool) or items < 1:
            raise InvalidCardError(f"a batch discount begins at 1 item or more, not {items!r}")
        steps.append(BatchDiscount(items, _number(_member(step, "percent", "a batch discount"))))
    if any(step.percent >= _WHOLE for step in steps):
        raise InvalidCardError("a batch discount is below 100 percent: nothing is ever free")
    if len({step.items for step in steps}) != len(steps):
        raise InvalidCardError("two batch discounts begin at the same number of items")
    return tuple(sorted(steps, key=lambda step: step.items))


def _ceiling(data: Mapping[str, Any]) -> Ceiling:
    where = "a ceiling"
    _only(data, {"quantity", "per", "amount"}, where)
    return Ceiling(
        quantity=_text(data, "quantity", where),
        per=_text(data, "per", where),
        amount=_number(_member(data, "amount", where)),
    )


def _number(value: object) -> Fraction:
    """An exact number >= 0; a price is never negative, a rebate says so by name."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        try:
            return Fraction(value) if "." not in value else _decimal(value)
        except ZeroDivisionError:
            pass
    refusal = f'a number of a card is a string >= 0 such as "0.7" or "2/30", not {value!r}'
    if _NEGATIVE.match(str(value).strip()):
        raise NegativePriceError(f"{refusal}; write a rebate as a positive term with rebate = true")
    raise InvalidCardError(refusal)


def _decimal(value: str) -> Fraction:
    top, _, bottom = value.partition("/")
    return Fraction(top) / Fraction(bottom or "1")


def _member(data: Mapping[str, Any], name: str, where: str) -> object:
    if name not in data:
        raise InvalidCardError(f"{where} lacks {name!r}")
    return data[name]


def _text(data: Mapping[str, Any], name: str, where: str) -> str:
    value = _member(data, name, where)
    if not isinstance(value, str) or not value:
        raise InvalidCardError(f"{where}: {name} must be a text, not {value!r}")
    return value


def _texts(data: Mapping[str, Any], name: str, where: str, *, needed: bool = True) -> Sequence[str]:
    value = _member(data, name, where) if needed else data.get(name, ())
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise InvalidCardError(f"{where}: {name} must be a list of texts, not {value!r}")
    return value


def _object(
    data: Mapping[str, Any], name: str, where: str, *, needed: bool = True
) -> Mapping[str, Any]:
    value = _member(data, name, where) if needed else data.get(name, {})
    if not isinstance(value, Mapping):
        raise InvalidCardError(f"{where}: {name} must be an object, not {value!r}")
    return value


def _objects(
    data: Mapping[str, Any], name: str, where: str, *, needed: bool = True
) -> Sequence[Mapping[str, Any]]:
    value = _member(data, name, where) if needed else data.get(name, ())
    if not isinstance(value, list | tuple) or not all(isinstance(each, Mapping) for each in value):
        raise InvalidCardError(f"{where}: {name} must be a list of objects, not {value!r}")
    return value


def _only(data: Mapping[str, Any], known: set[str], where: str) -> None:
    unknown = sorted(str(name) for name in set(data) - known)
    if unknown:
        raise InvalidCardError(f"{where} has unknown keys: {', '.join(unknown)}")
