"""The book of prices that quotes read: cards in force, who is on which, multipliers.

The newest version of a card whose ``effective_from`` has come prices new jobs; a job keeps the
version it was quoted with. ``billing.publishing`` makes versions.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.card_data import read_card
from billing.errors import InvalidCardError, UnknownPriceError
from billing.pricing_rules import EVERYBODY, RuleBook
from billing.publishing import publish, publish_catalogue, shipped
from billing.rates import RateCard
from billing.tables import card_assignment, rate_card_version

__all__ = [
    "ANY_ENGINE",
    "EVERYBODY",
    "CardBook",
    "assign",
    "assignments_of",
    "load_book",
    "publish",
    "publish_catalogue",
    "shipped",
    "split_id",
    "unassign",
]

ANY_ENGINE: Final = "*"  # the engine of a tenant's card for everything it prices


@dataclass(frozen=True, slots=True)
class CardBook:
    """An immutable snapshot of cards and assignments; safe to share between threads."""

    cards: Mapping[str, RateCard]  # every version, by id
    current: Mapping[str, RateCard]  # the version in force, by card
    assignments: Mapping[tuple[str, str], str]  # (tenant or "*", engine or "*") -> card
    rules: RuleBook = field(default_factory=RuleBook)

    def card_for(self, tenant: str, engine: str) -> RateCard:
        """The card in force for this tenant and engine: their own, or everybody's.

        Raises:
            UnknownPriceError: nobody priced the engine.
        """
        for key in (
            (tenant, engine),
            (tenant, ANY_ENGINE),
            (EVERYBODY, engine),
            (EVERYBODY, ANY_ENGINE),
        ):
            found = self.current.get(self.assignments.get(key, ""))
            if found is not None and found.prices(engine):
                return found
        raise UnknownPriceError(f"no rate card prices {engine}; publish and assign one")

    def card(self, card_id: str) -> RateCard:
        """One version by its id, in force or not.

        Raises:
            UnknownPriceError: there is no such version.
        """
        if card_id not in self.cards:
            raise UnknownPriceError(f"there is no rate card {card_id}")
        return self.cards[card_id]


def load_book(session: Session, now: datetime) -> CardBook:
    """Read every card and assignment."""
    versions = session.execute(
        select(rate_card_version).order_by(rate_card_version.c.effective_from)
    ).mappings()
    cards: dict[str, RateCard] = {}
    current: dict[str, RateCard] = {}
    for row in versions:
        card = read_card(row["body"], card=row["card"], version=row["version"])
        cards[card.id] = card
        if row["effective_from"] <= now:
            current[card.card] = card
    assigned = session.execute(select(card_assignment)).mappings()
    return CardBook(
        cards=cards,
        current=current,
        assignments={(row["tenant"], row["engine"]): row["card"] for row in assigned},
        rules=RuleBook.load(session, now),
    )


def assign(session: Session, *, tenant: str, engine: str, card: str) -> None:
    """Put a tenant (or ``EVERYBODY``) on a card for one engine, in place of any other.

    ``ANY_ENGINE`` stands for every engine that the card prices and that has no card of its own.

    Raises:
        InvalidCardError: no such card is published, or it is not meant for the engine.
    """
    body = session.scalar(
        select(rate_card_version.c.body)
        .where(rate_card_version.c.card == card)
        .order_by(rate_card_version.c.effective_from.desc())
        .limit(1)
    )
    if body is None:
        raise InvalidCardError(f"no rate card {card!r} is published")
    if engine != ANY_ENGINE and not read_card(body, card=card, version=1).prices(engine):
        raise InvalidCardError(f"rate card {card!r} does not price {engine}")
    row = insert(card_assignment).values(tenant=tenant, engine=engine, card=card)
    session.execute(
        row.on_conflict_do_update(index_elements=["tenant", "engine"], set_={"card": card})
    )


def unassign(session: Session, *, tenant: str, engine: str) -> None:
    """Take a tenant's own card away again; everybody's counts then."""
    session.execute(
        delete(card_assignment).where(
            card_assignment.c.tenant == tenant, card_assignment.c.engine == engine
        )
    )


def assignments_of(session: Session, tenant: str) -> dict[str, str]:
    """A tenant's own cards by engine; without everybody's."""
    rows = session.execute(
        select(card_assignment.c.engine, card_assignment.c.card)
        .where(card_assignment.c.tenant == tenant)
        .order_by(card_assignment.c.engine)
    )
    return {row.engine: row.card for row in rows}


def split_id(card_id: str) -> tuple[str, int]:
    """``yolo@1`` as card and version.

    Raises:
        UnknownPriceError: that is no id of a card.
    """
    card, _, version = card_id.rpartition("@")
    if not card or not version.isdecimal():
        raise UnknownPriceError(f"{card_id!r} is no rate card; one looks like yolo@1")
    return card, int(version)
