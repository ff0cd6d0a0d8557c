"""Rate cards as data: the shipped catalogue, publishing, and the book that quotes read.

A card is a TOML file in ``billing/catalogue``; published, it is a row of ``rate_card_version``
that never changes. The newest version whose ``effective_from`` has come prices new jobs; a job
keeps the version it was quoted with.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.card_data import read_card
from billing.errors import InvalidCardError, UnknownPriceError
from billing.rates import RateCard
from billing.tables import card_assignment, rate_card_version

EVERYBODY: Final = "*"  # the tenant of a default assignment


@dataclass(frozen=True, slots=True)
class CardBook:
    """An immutable snapshot of cards and assignments; safe to share between threads."""

    cards: Mapping[str, RateCard]  # every version, by id
    current: Mapping[str, RateCard]  # the version in force, by card
    assignments: Mapping[tuple[str, str], str]  # (tenant or "*", engine) -> card

    def card_for(self, tenant: str, engine: str) -> RateCard:
        """The card in force for this tenant and engine: their own, or everybody's.

        Raises:
            UnknownPriceError: nobody priced the engine.
        """
        for key in ((tenant, engine), (EVERYBODY, engine)):
            found = self.current.get(self.assignments.get(key, ""))
            if found is not None:
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
    )


def assign(session: Session, *, tenant: str, engine: str, card: str) -> None:
    """Put a tenant (or ``EVERYBODY``) on a card for one engine, in place of any other.

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
    if not read_card(body, card=card, version=1).prices(engine):
        raise InvalidCardError(f"rate card {card!r} does not price {engine}")
    row = insert(card_assignment).values(tenant=tenant, engine=engine, card=card)
    session.execute(
        row.on_conflict_do_update(index_elements=["tenant", "engine"], set_={"card": card})
    )


def shipped() -> list[dict[str, Any]]:
    """The catalogue's files as data, by name."""
    folder = files("billing.catalogue")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return [tomllib.loads((folder / name).read_text(encoding="utf-8")) for name in names]


def publish_catalogue(session: Session, now: datetime) -> None:
    """Publish the shipped cards and their default assignments; safe to repeat.

    An operator's own assignment of an engine is left alone.

    Raises:
        InvalidCardError: a shipped file differs from the version published under its number.
    """
    for data in shipped():
        publish(session, data, now=now)
        for engine in data["default_for"]:
            row = insert(card_assignment).values(tenant=EVERYBODY, engine=engine, card=data["card"])
            session.execute(row.on_conflict_do_nothing())


def publish(session: Session, data: Mapping[str, Any], *, now: datetime) -> RateCard:
    """Publish one version, in force from ``now``; the same version again changes nothing.

    Raises:
        InvalidCardError: the data is wrong, or this version was published with other data.
    """
    name, version = str(data["card"]), int(data["version"])
    body = {key: value for key, value in data.items() if key not in {"card", "version"}}
    card = read_card(body, card=name, version=version)
    row = insert(rate_card_version).values(
        card=name, version=version, effective_from=now, body=body
    )
    session.execute(row.on_conflict_do_nothing(index_elements=["card", "version"]))
    published = session.scalar(
        select(rate_card_version.c.body).where(
            rate_card_version.c.card == name, rate_card_version.c.version == version
        )
    )
    if json.dumps(published, sort_keys=True) != json.dumps(body, sort_keys=True):
        raise InvalidCardError(
            f"rate card {card.id} is published and cannot change; raise its version"
        )
    return card


def split_id(card_id: str) -> tuple[str, int]:
    """``yolo@1`` as card and version.

    Raises:
        UnknownPriceError: that is no id of a card.
    """
    card, _, version = card_id.rpartition("@")
    if not card or not version.isdecimal():
        raise UnknownPriceError(f"{card_id!r} is no rate card; one looks like yolo@1")
    return card, int(version)
