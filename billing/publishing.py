"""Publishing rate cards: the shipped catalogue, and the versions that operators make of it.

A card is data: a TOML file in ``billing/catalogue``, or the same as JSON. Published, it is a row of
``rate_card_version`` that never changes. An edit is the next version, in force from now or later;
a version ends where the next one begins.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Any, Final

from sqlalchemy import RowMapping, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.audit import record
from billing.card_data import check_card_name, read_card
from billing.errors import (
    CardFrozenError,
    CardOverlapError,
    EffectivePastError,
    InvalidCardError,
)
from billing.pricing_rules import CATALOGUE, EVERYBODY, list_rules, publish_rule
from billing.rates import RateCard
from billing.rule_data import check_horizon
from billing.tables import card_assignment, rate_card_version

VERSION_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Version:
    """One published version; it ends where the next one begins."""

    card: RateCard
    effective_from: datetime
    effective_until: datetime | None  # None: until somebody publishes the next one
    published_at: datetime
    published_by: str
    body: Mapping[str, Any]

    def state(self, now: datetime) -> str:
        """``past``, ``current`` or ``scheduled``."""
        if self.effective_from > now:
            return "scheduled"
        ended = self.effective_until is not None and self.effective_until <= now
        return "past" if ended else "current"


def shipped() -> list[dict[str, Any]]:
    """The catalogue's files as data, by name."""
    folder = files("billing.catalogue")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    return [tomllib.loads((folder / name).read_text(encoding="utf-8")) for name in names]


def shipped_rules() -> list[dict[str, Any]]:
    """The shipped price lists, packs and plans: kind, subject and body of each."""
    folder = files("billing.catalogue.rules")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".toml"))
    texts = [(folder / name).read_text(encoding="utf-8") for name in names]
    return [rule for text_ in texts for rule in tomllib.loads(text_)["rules"]]


def publish_catalogue(session: Session, now: datetime) -> None:
    """Publish the shipped cards, their default assignments and rules; safe to repeat.

    A card that an operator has edited is the operator's from then on, and so is an assignment.

    Raises:
        InvalidCardError: a shipped file differs from the version published under its number.
    """
    edited = set(
        session.scalars(
            select(rate_card_version.c.card).where(rate_card_version.c.published_by != CATALOGUE)
        )
    )
    for data in shipped():
        if data["card"] not in edited:
            publish(session, data, now=now)
        for engine in data["default_for"]:
            row = insert(card_assignment).values(tenant=EVERYBODY, engine=engine, card=data["card"])
            session.execute(row.on_conflict_do_nothing())
    known = {(rule.kind, rule.subject) for rule in list_rules(session)}
    for rule in shipped_rules():
        if (rule["kind"], rule["subject"]) not in known:
            publish_rule(session, **rule, actor=CATALOGUE, now=now)


def publish(
    session: Session,
    data: Mapping[str, Any],
    *,
    effective_from: datetime | None = None,
    actor: str = CATALOGUE,
    now: datetime,
) -> RateCard:
    """Publish one version, in force from ``effective_from`` (default: now).

    Without a ``version`` it is the next one. The same version again changes nothing.

    Raises:
        InvalidCardError: the data is wrong.
        CardFrozenError: this version was published with other data.
        CardOverlapError: its number is not the next one, or another begins then or later.
        EffectivePastError: it would change prices of the past.
    """
    name, body = _name(data), card_body(data)
    # Two admins at once: the second sees the first one's version.
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"card:{name}"})
    latest = _latest(session, name)
    version = next_version(data, latest=0 if latest is None else latest["version"])
    card = read_card(body, card=name, version=version)
    if latest is not None and version <= latest["version"]:
        _check_same(session, card, body)
        return card
    start = now if effective_from is None else effective_from
    _check_start(card, latest, start=start, now=now)
    session.execute(
        insert(rate_card_version).values(
            card=name, version=version, effective_from=start, body=body, published_by=actor
        )
    )
    if actor != CATALOGUE:
        detail = {"effective_from": start.isoformat(), "body": body}
        record(
            session,
            actor=actor,
            action="rate_card.publish",
            subject=card.id,
            detail=detail,
            now=now,
        )
    return card


def proposed(session: Session, data: Mapping[str, Any]) -> RateCard:
    """The card that ``publish`` would make of the data; nothing is written.

    Raises:
        InvalidCardError: as ``publish`` does.
    """
    name = _name(data)
    latest = _latest(session, name)
    version = next_version(data, latest=0 if latest is None else latest["version"])
    return read_card(card_body(data), card=name, version=version)


def versions(session: Session, *, card: str | None = None) -> list[Version]:
    """Every published version, by card, newest first."""
    table = rate_card_version
    until = func.lead(table.c.effective_from).over(
        partition_by=table.c.card, order_by=table.c.effective_from
    )
    wanted = select(table, until.label("until")).order_by(table.c.card, table.c.version.desc())
    if card is not None:
        wanted = wanted.where(table.c.card == card)
    return [_version(row) for row in session.execute(wanted).mappings()]


def card_body(data: Mapping[str, Any]) -> dict[str, Any]:
    """What is kept of a card's data; name, version and date are columns."""
    return {key: value for key, value in data.items() if key not in {"card", "version"}}


def next_version(data: Mapping[str, Any], *, latest: int) -> int:
    """The version that the data names, or the one after the latest; 0 is none yet.

    Raises:
        CardOverlapError: the number leaves some out.
        InvalidCardError: it is no number of a version.
    """
    version = data.get("version")
    if version is None:
        return latest + 1
    if not isinstance(version, int) or isinstance(version, bool) or not 0 < version <= VERSION_MAX:
        raise InvalidCardError(f"a version is a whole number from 1 on, not {version!r}")
    if latest and version > latest + 1:
        raise CardOverlapError(f"the next version is {latest + 1}, not {version}; leave none out")
    return version


def _name(data: Mapping[str, Any]) -> str:
    name = data.get("card")
    if not isinstance(name, str):
        raise InvalidCardError('the data of a card names it: card = "yolo"')
    check_card_name(name)
    return name


def _check_same(session: Session, card: RateCard, body: Mapping[str, Any]) -> None:
    published = session.scalar(
        select(rate_card_version.c.body).where(
            rate_card_version.c.card == card.card, rate_card_version.c.version == card.version
        )
    )
    if json.dumps(published, sort_keys=True) != json.dumps(body, sort_keys=True):
        raise CardFrozenError(
            f"rate card {card.id} is published and cannot change; raise its version"
        )


def _check_start(
    card: RateCard, latest: RowMapping | None, *, start: datetime, now: datetime
) -> None:
    check_horizon(start)
    if start < now:
        raise EffectivePastError(
            f"{card.id} cannot begin at {start.isoformat()}: prices of the past never change;"
            " begin now or later"
        )
    if latest is not None and latest["effective_from"] >= start:
        raise CardOverlapError(
            f"{card.card}@{latest['version']} begins at {latest['effective_from'].isoformat()};"
            f" {card.id} must begin later"
        )


def _latest(session: Session, card: str) -> RowMapping | None:
    newest = (
        select(rate_card_version.c.version, rate_card_version.c.effective_from)
        .where(rate_card_version.c.card == card)
        .order_by(rate_card_version.c.version.desc())
        .limit(1)
    )
    return session.execute(newest).mappings().one_or_none()


def _version(row: RowMapping) -> Version:
    return Version(
        card=read_card(row["body"], card=row["card"], version=row["version"]),
        effective_from=row["effective_from"],
        effective_until=row["until"],
        published_at=row["published_at"],
        published_by=row["published_by"],
        body=row["body"],
    )
