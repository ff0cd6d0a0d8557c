"""The most that a job can cost, before it runs. Pure: a book and facts in, a quote out."""

from collections.abc import Sequence
from dataclasses import dataclass

from billing.amounts import MicroTokens
from billing.cards import CardBook
from billing.errors import UnknownPriceError
from billing.rates import Line, Multiplier, Work, at_most, evaluate


@dataclass(frozen=True, slots=True)
class Quote:
    """An upper bound with its breakdown; the card version that will settle the job."""

    amount: MicroTokens
    card_id: str
    lines: tuple[Line, ...]
    multipliers: tuple[Multiplier, ...] = ()


def quote(
    book: CardBook,
    *,
    tenant: str,
    engine: str,
    work: Work,
    multipliers: Sequence[Multiplier] = (),
) -> Quote:
    """Price the work with the card that is in force for this tenant.

    ``multipliers`` are those of ``billing.multipliers`` for this moment; they settle the job too.

    Raises:
        UnknownPriceError: no card prices the engine, the model or anything of the work; what has
            no price is refused, never free.
    """
    card = book.card_for(tenant, engine)
    price = evaluate(card, at_most(card, work), multipliers)
    if price.amount == 0:
        raise UnknownPriceError(
            f"rate card {card.id} finds nothing to price in this work of {engine};"
            " put the tenant on another card"
        )
    return Quote(price.amount, card.id, price.lines, price.multipliers)
