"""Rate cards: measured work in, a price with its breakdown out. Pure and exact.

A card is a list of terms. A term prices one quantity:

    tokens * quantity * table entries chosen by attributes * factors / divisors

and applies when its ``when`` matches the attributes of the work. Everything is a fraction until
the one rounding at the end, so no order of evaluation and no machine changes a price.
Quantities add up: over the pictures and frames of one job they are sums.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from math import isfinite, prod

from billing.amounts import MICRO, MicroTokens, round_half_up, to_number
from billing.errors import InvalidWorkError, UnknownPriceError


@dataclass(frozen=True, slots=True)
class Work:
    """Priceable facts: quantities are numbers that add up, attributes choose prices."""

    quantities: Mapping[str, float]
    attributes: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Term:
    """The price of one quantity; ``rebate`` takes it off instead."""

    name: str  # what the breakdown calls it
    quantity: str  # how many: a measured quantity
    unit: str
    tokens: Fraction  # for one unit, before tables and factors
    when: Mapping[str, frozenset[str]] = field(default_factory=dict)  # attribute -> values
    tables: Mapping[str, Mapping[str, Fraction]] = field(default_factory=dict)  # by attribute
    multiply: tuple[str, ...] = ()  # quantities or attributes
    divide: tuple[str, ...] = ()
    over: Fraction = Fraction(1)  # a constant divisor
    each: Fraction | None = None  # one unit's price is rounded to a multiple of this first
    rebate: bool = False


@dataclass(frozen=True, slots=True)
class Rounding:
    """Half up to a multiple of ``quantum`` tokens, then at least ``minimum`` if work was done."""

    quantum: Fraction
    minimum: Fraction


@dataclass(frozen=True, slots=True)
class BatchDiscount:
    """From ``items`` items in one batch on, the price of each falls by ``percent``."""

    items: int
    percent: Fraction


@dataclass(frozen=True, slots=True)
class Ceiling:
    """The most of a quantity that only a run can measure, for the quote: ``amount`` per unit."""

    quantity: str  # such as gpu_ms.swap
    per: str  # a quantity known before the run, such as faces
    amount: Fraction


@dataclass(frozen=True, slots=True)
class RateCard:
    """One immutable version of a card."""

    card: str
    version: int
    engines: frozenset[str]  # engines it can price; "*" stands for any
    terms: tuple[Term, ...]
    rounding: Rounding
    batch_discounts: tuple[BatchDiscount, ...] = ()  # rising by items
    ceilings: tuple[Ceiling, ...] = ()

    @property
    def id(self) -> str:
        """``card@version``, as it appears in quotes and charges."""
        return f"{self.card}@{self.version}"

    def prices(self, engine: str) -> bool:
        """Whether this card is meant for ``engine``."""
        return engine in self.engines or "*" in self.engines

    def batch_discount(self, items: int) -> Fraction:
        """The percentage off for a batch of ``items``; 0 below the first step."""
        steps = [step.percent for step in self.batch_discounts if items >= step.items]
        return steps[-1] if steps else Fraction(0)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the breakdown; the amount is negative on a rebate."""

    name: str
    quantity: int | float
    unit: str
    amount: MicroTokens

    @property
    def tokens(self) -> int | float:
        """The amount as a JSON number of tokens."""
        return to_number(self.amount)


@dataclass(frozen=True, slots=True)
class Multiplier:
    """A named factor on the whole price, such as a time of day; never 0."""

    name: str
    factor: Fraction
    detail: str = ""  # why it applies, for the reader of a quote


@dataclass(frozen=True, slots=True)
class Price:
    """What the work costs. The lines sum up to the amount."""

    amount: MicroTokens
    lines: tuple[Line, ...]
    multipliers: tuple[Multiplier, ...] = ()


def at_most(card: RateCard, work: Work) -> Work:
    """The work with the card's ceilings in place of what cannot be known before the run."""
    known = work.quantities
    assumed = {
        ceiling.quantity: float(ceiling.amount * _exact(ceiling.per, known.get(ceiling.per, 0)))
        for ceiling in card.ceilings
        if ceiling.quantity not in known
    }
    return replace(work, quantities={**known, **assumed}) if assumed else work


def evaluate(card: RateCard, work: Work, multipliers: Sequence[Multiplier] = ()) -> Price:
    """Price the work by the card; no work done costs nothing, whatever the minimum.

    The multipliers act on the exact sum of the terms, in their order and before the one rounding.

    Raises:
        UnknownPriceError: the card has no price for an attribute or a measured stage of the work.
        InvalidWorkError: a quantity is negative, not finite, or missing where a term divides.
    """
    quantities = {name: _exact(name, value) for name, value in work.quantities.items()}
    attributes = {name: str(value) for name, value in work.attributes.items()}
    terms = [term for term in card.terms if _applies(term, quantities, attributes)]
    _refuse_unpriced_stages(card, quantities)
    priced = [(term, _cost(card, term, quantities, attributes)) for term in terms]
    lines = [
        Line(term.name, _shown(quantities[term.quantity]), term.unit, _micro(cost))
        for term, cost in priced
    ]
    if not any(cost > 0 for _, cost in priced):
        return Price(MicroTokens(0), (), tuple(multipliers))
    exact = sum((cost for _, cost in priced), Fraction(0))
    for multiplier in multipliers:
        change = exact * (multiplier.factor - 1)
        lines.append(Line(multiplier.name, _shown(multiplier.factor), "times", _micro(change)))
        exact += change
    amount, lines = _rounded(card.rounding, exact, lines)
    return Price(amount, tuple(lines), tuple(multipliers))


def _rounded(
    rounding: Rounding, exact: Fraction, lines: list[Line]
) -> tuple[MicroTokens, list[Line]]:
    """Round once and show the difference as a line of its own."""
    whole = round_half_up(exact / rounding.quantum) * rounding.quantum
    amount = _micro(max(whole, rounding.minimum))
    rest = amount - sum(line.amount for line in lines)
    if rest:
        name = "minimum" if whole < rounding.minimum else "rounding"
        lines = [*lines, Line(name, 1, "job", MicroTokens(rest))]
    return amount, lines


def _applies(term: Term, quantities: Mapping[str, Fraction], attributes: Mapping[str, str]) -> bool:
    return quantities.get(term.quantity, 0) > 0 and all(
        attributes.get(name) in values for name, values in term.when.items()
    )


def _cost(
    card: RateCard, term: Term, quantities: Mapping[str, Fraction], attributes: Mapping[str, str]
) -> Fraction:
    unit = term.tokens / term.over
    for attribute, table in term.tables.items():
        value = attributes.get(attribute)
        if value is None or value not in table:
            raise UnknownPriceError(
                f"rate card {card.id} has no price for {attribute} {value!r};"
                f" it knows {', '.join(sorted(table))}"
            )
        unit *= table[value]
    unit *= prod(_factor(name, quantities, attributes) for name in term.multiply)
    for name in term.divide:
        divisor = _factor(name, quantities, attributes)
        if divisor == 0:
            raise InvalidWorkError(f"the work has {term.quantity} but no {name}; measure both")
        unit /= divisor
    if term.each is not None:
        unit = round_half_up(unit / term.each) * term.each
    cost = unit * quantities[term.quantity]
    return -cost if term.rebate else cost


def _factor(
    name: str, quantities: Mapping[str, Fraction], attributes: Mapping[str, str]
) -> Fraction:
    if name in quantities:
        return quantities[name]
    if name in attributes:
        return _exact(name, attributes[name])
    raise InvalidWorkError(f"the work does not say {name}, which its price depends on")


def _refuse_unpriced_stages(card: RateCard, quantities: Mapping[str, Fraction]) -> None:
    """A card that prices stages must know every stage that was measured."""
    known = {term.quantity for term in card.terms if term.quantity.startswith("gpu_ms.")}
    if not known:
        return
    for name, value in quantities.items():
        if name.startswith("gpu_ms.") and value > 0 and name not in known:
            raise UnknownPriceError(
                f"rate card {card.id} has no price for {name}; it knows {', '.join(sorted(known))}"
            )


def _exact(name: str, value: float | str) -> Fraction:
    """The decimal that a number shows, not the binary fraction behind it."""
    try:
        number = Fraction(Decimal(str(value)))
    except (ArithmeticError, ValueError, OverflowError):
        raise InvalidWorkError(f"{name} must be a finite number, got {value!r}") from None
    if number < 0:
        raise InvalidWorkError(f"{name} cannot be negative, got {value!r}")
    return number


def _shown(value: Fraction) -> int | float:
    return value.numerator if value.denominator == 1 else float(value)


def _micro(tokens: Fraction) -> MicroTokens:
    return MicroTokens(round_half_up(tokens * MICRO))


def checked(work: Work) -> Work:
    """The work itself, if every quantity is a finite number >= 0.

    Raises:
        InvalidWorkError: one is not.
    """
    for name, value in work.quantities.items():
        if isinstance(value, bool) or not isfinite(value) or value < 0:
            raise InvalidWorkError(f"{name} must be a finite number >= 0, got {value!r}")
    return work
