"""Tokens that were bought, each purchase once per key; packs.

A purchase is the fact behind a line of an invoice; its grant carries the tokens, and the price
that a pack locked stays readable with the grant.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from sqlalchemy import RowMapping, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.amounts import MICRO, MicroTokens
from billing.audit import record
from billing.errors import ReplayMismatchError, UnknownOfferError
from billing.grants import issue
from billing.invoice_tables import purchase
from billing.offers import read_pack
from billing.pricing_rules import Rule, RuleKind, rule_in_force
from billing.tiers import PriceList, price_of_band, read_price_list, yuan

DEFAULT_PRICE_LIST: Final = "standard"
# Bought tokens are drawn after those that end: lower numbers go first.
SUBSCRIPTION_PRIORITY: Final = 50


@dataclass(frozen=True, slots=True)
class Purchase:
    """What was bought; ``created`` is False on a replay."""

    id: int
    kind: str
    item: str
    tokens: MicroTokens
    token_price: Decimal | None
    amount: Decimal
    grant: int | None
    period_start: date | None
    period_end: date | None
    bought_at: datetime
    created: bool


def price_list_in_force(session: Session, name: str, now: datetime) -> PriceList:
    """A price list by its name.

    Raises:
        UnknownOfferError: nobody published it.
    """
    rule = offer(session, RuleKind.PRICE_LIST, name, now)
    return read_price_list(rule.body, name=name, version=rule.version)


def price_list_of(session: Session, tenant: str, now: datetime) -> PriceList:
    """The list that a tenant's month is charged by: its own choice, else ``standard``.

    Raises:
        UnknownOfferError: nobody published that list.
    """
    chosen = rule_in_force(session, RuleKind.TENANT_PRICE_LIST, tenant, now)
    name = DEFAULT_PRICE_LIST if chosen is None else str(chosen.body["price_list"])
    return price_list_in_force(session, name, now)


def buy_pack(
    session: Session, *, tenant: str, pack: str, idem_key: str, actor: str, now: datetime
) -> Purchase:
    """Buy a pack at the price of the band that its tokens reach; the grant never expires.

    Raises:
        UnknownOfferError: there is no such pack.
        ReplayMismatchError: the key was used for something else.
    """
    known = _replayed(session, tenant, f"pack:{idem_key}", kind="pack", item=pack)
    if known is not None:
        return known
    rule = offer(session, RuleKind.PACK, pack, now)
    wanted = read_pack(rule.body)
    price = price_of_band(price_list_in_force(session, wanted.price_list, now), wanted.tokens)
    bought = book(
        session,
        tenant=tenant,
        idem_key=f"pack:{idem_key}",
        kind="pack",
        item=pack,
        version=rule.version,
        tokens=MicroTokens(wanted.tokens * MICRO),
        token_price=_decimal(price),
        amount=yuan(price * wanted.tokens),
        actor=actor,
        now=now,
    )
    if bought.created:
        detail = {"pack": pack, "key": idem_key}
        record(session, actor=actor, action="pack.buy", subject=tenant, detail=detail, now=now)
    return bought


def book(
    session: Session,
    *,
    tenant: str,
    idem_key: str,
    kind: str,
    item: str,
    tokens: MicroTokens,
    actor: str,
    expires_at: datetime | None = None,
    now: datetime,
    **facts: Any,  # noqa: ANN401 - columns of the purchase
) -> Purchase:
    """Book a purchase with its grant, once per key; the amount is yuan with 2 decimals."""
    known = _replayed(session, tenant, idem_key, kind=kind, item=item)
    if known is not None:
        return known
    grant = None
    if tokens and (expires_at is None or expires_at > now):
        grant = issue(
            session,
            tenant=tenant,
            amount=tokens,
            kind="purchase" if kind == "pack" else "subscription",
            idem_key=idem_key,
            actor=actor,
            priority=100 if kind == "pack" else SUBSCRIPTION_PRIORITY,
            expires_at=expires_at,
            now=now,
        )
    values = {
        "tenant": tenant,
        "idem_key": idem_key,
        "kind": kind,
        "item": item,
        "tokens": tokens,
        "token_grant": None if grant is None else grant.id,
        "actor": actor,
        "bought_at": now,
        **facts,
    }
    made = insert(purchase).values(**values).on_conflict_do_nothing().returning(purchase)
    row = session.execute(made).mappings().one_or_none()
    if row is not None:
        return _purchase(row, created=True)
    # Another booked it between our look and our insert, which waited for it.
    quicker = _replayed(session, tenant, idem_key, kind=kind, item=item)
    if quicker is None:
        raise ReplayMismatchError(f"the key {idem_key!r} was used for a grant that is no purchase")
    return quicker


def _replayed(
    session: Session, tenant: str, idem_key: str, *, kind: str, item: str
) -> Purchase | None:
    found = session.execute(
        select(purchase).where(purchase.c.tenant == tenant, purchase.c.idem_key == idem_key)
    )
    row = found.mappings().one_or_none()
    if row is None:
        return None
    if (row["kind"], row["item"]) != (kind, item):
        raise ReplayMismatchError(f"the key {idem_key!r} was used for another purchase")
    return _purchase(row, created=False)


def offer(session: Session, kind: RuleKind, name: str, now: datetime) -> Rule:
    """What is offered under a name.

    Raises:
        UnknownOfferError: nobody published it.
    """
    rule = rule_in_force(session, kind, name, now)
    if rule is None:
        raise UnknownOfferError(f"there is no {kind.replace('_', ' ')} {name!r}; see the offers")
    return rule


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def _purchase(row: RowMapping, *, created: bool) -> Purchase:
    return Purchase(
        id=row["id"],
        kind=row["kind"],
        item=row["item"],
        tokens=row["tokens"],
        token_price=row["token_price"],
        amount=row["amount"],
        grant=row["token_grant"],
        period_start=row["period_start"],
        period_end=row["period_end"],
        bought_at=row["bought_at"],
        created=created,
    )
