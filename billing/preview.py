"""What a proposed card would have charged for work that was done. Reads only."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.errors import InvalidWorkError, UnknownPriceError
from billing.multipliers import read_multipliers
from billing.rates import RateCard, Work, evaluate


@dataclass(frozen=True, slots=True)
class Comparison:
    """The same jobs by the cards they were charged with and by the proposed one."""

    name: str  # a model or a tenant; "" for all together
    jobs: int
    old: MicroTokens  # the price, holds aside
    new: MicroTokens  # without the jobs that could not be priced
    unpriced: int  # jobs that the proposed card would refuse

    @property
    def change_percent(self) -> float | None:
        """By how much the price rises; None when nothing was charged before."""
        return None if self.old == 0 else round((self.new - self.old) * 100 / self.old, 2)


@dataclass(frozen=True, slots=True)
class Preview:
    """Old and new totals; each list in falling order of the old price."""

    card_id: str
    since: datetime
    total: Comparison
    by_model: tuple[Comparison, ...]
    by_tenant: tuple[Comparison, ...]


# Multipliers stay as they were: the preview compares cards.
_WORK = text(
    """
    SELECT u.tenant, u.model, u.quantities, u.attributes, u.multipliers, c.price
      FROM billing.usage_record u JOIN billing.charge c ON c.job = u.job
     WHERE u.recorded_at >= :since AND u.recorded_at < :until AND u.card = :card
       AND NOT u.cached AND u.outcome IN ('succeeded', 'canceled')
    """
)
_CHUNK = 1000


def preview(session: Session, card: RateCard, *, since: datetime, until: datetime) -> Preview:
    """Price again what versions of this card priced between ``since`` and ``until``."""
    rows = session.execute(
        _WORK,
        {"card": card.card, "since": since, "until": until},
        execution_options={"yield_per": _CHUNK},
    ).mappings()
    price = _remembering(card)
    models: dict[str, _Sum] = defaultdict(_Sum)
    tenants: dict[str, _Sum] = defaultdict(_Sum)
    total = _Sum()
    for row in rows:
        new = price(row)
        for group in (models[row["model"]], tenants[row["tenant"]], total):
            group.add(row["price"], new)
    return Preview(
        card_id=card.id,
        since=since,
        total=total.compared(""),
        by_model=_groups(models),
        by_tenant=_groups(tenants),
    )


@dataclass(slots=True)
class _Sum:
    jobs: int = 0
    old: int = 0
    new: int = 0
    unpriced: int = 0

    def add(self, old: int, new: int | None) -> None:
        self.jobs += 1
        self.old += old
        self.new += new or 0
        self.unpriced += new is None

    def compared(self, name: str) -> Comparison:
        return Comparison(
            name, self.jobs, MicroTokens(self.old), MicroTokens(self.new), self.unpriced
        )


def _remembering(card: RateCard) -> Callable[[RowMapping], int | None]:
    """A pricer by this card; None where it has no price. Work that is equal is priced once.

    Compute times differ from run to run, so they tell work apart only where the card prices them.
    """
    by_time = any("gpu_ms" in term.quantity for term in card.terms)
    known: dict[str, int | None] = {}

    def price(row: RowMapping) -> int | None:
        quantities = {
            name: value
            for name, value in row["quantities"].items()
            if by_time or not name.startswith("gpu_ms")
        }
        facts = (quantities, row["attributes"], row["multipliers"])
        key = json.dumps(facts, sort_keys=True)
        if key not in known:
            known[key] = _price(card, *facts)
        return known[key]

    return price


def _price(
    card: RateCard,
    quantities: Mapping[str, float],
    attributes: Mapping[str, str | int],
    multipliers: Iterable[Mapping[str, Any]],
) -> int | None:
    try:
        return evaluate(card, Work(quantities, attributes), read_multipliers(multipliers)).amount
    except (UnknownPriceError, InvalidWorkError):
        return None


def _groups(groups: Mapping[str, _Sum]) -> tuple[Comparison, ...]:
    compared = [group.compared(name) for name, group in groups.items()]
    return tuple(sorted(compared, key=lambda each: (-each.old, each.name)))
