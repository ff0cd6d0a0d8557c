"""A rate card as one sentence that a customer can check a quote with. Pure."""

from collections.abc import Mapping
from fractions import Fraction

from billing.rates import RateCard, Term


def price_sentence(card: RateCard) -> str:
    """Every term, the rounding and the batch discounts, in the words of the card."""
    terms = "; ".join(_term(term) for term in card.terms)
    quantum, minimum = card.rounding.quantum, card.rounding.minimum
    least = f", at least {_number(minimum)}" if minimum else ""
    sentence = f"Tokens: {terms}. The sum is rounded half up to {_number(quantum)}{least}."
    if card.batch_discounts:
        steps = ", ".join(
            f"{_number(step.percent)} % off from {step.items} on" for step in card.batch_discounts
        )
        sentence += f" Items of one batch: {steps}."
    return sentence


def _term(term: Term) -> str:
    conditions = [f"{name} {' or '.join(sorted(values))}" for name, values in term.when.items()]
    where = f" ({', '.join(conditions)})" if conditions else ""
    factors = [f" x {name}" for name in term.multiply]
    factors += [f" / {name}" for name in term.divide]
    factors += [] if term.over == 1 else [f" / {_number(term.over)}"]
    factors += [f" x {_table(name, table)}" for name, table in term.tables.items()]
    each = f", each rounded to {_number(term.each)}" if term.each is not None else ""
    amount = _number(-term.tokens if term.rebate else term.tokens)
    return f"{term.name}{where} {amount} per {term.unit}{''.join(factors)}{each}"


def _table(attribute: str, table: Mapping[str, Fraction]) -> str:
    values = ", ".join(f"{value} {_number(factor)}" for value, factor in table.items())
    return f"{attribute} [{values}]"


def _number(value: Fraction) -> str:
    """A decimal where it is one, else the fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    shown = f"{float(value):.6f}".rstrip("0")
    return shown if Fraction(shown) == value else f"{value.numerator}/{value.denominator}"
