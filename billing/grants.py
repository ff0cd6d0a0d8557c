"""Tokens given or bought: issue them, and take back what has expired.

Draw order: lower priority number, then earlier expiry (never last), then the older grant.
"""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum

from sqlalchemy import RowMapping, select
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens
from billing.errors import InvalidAmountError
from billing.tables import token_grant, wallet


class GrantKind(StrEnum):
    """Where a grant came from."""

    PURCHASE = "purchase"  # paid for
    GRANT = "grant"  # given by an operator
    QUOTA = "quota"  # nightly, by a rule
    REFUND = "refund"  # in place of an expired grant
    BULK = "bulk"  # a line of a bulk recharge
    SUBSCRIPTION = "subscription"  # a cycle of a subscription
    GOODWILL = "goodwill"  # given for something that went wrong


@dataclass(frozen=True, slots=True)
class Grant:
    """Tokens with a priority and perhaps an end; ``created`` is False on a replay."""

    id: int
    kind: GrantKind
    amount: MicroTokens
    remaining: MicroTokens
    priority: int
    effective_at: datetime
    expires_at: datetime | None
    created: bool


@dataclass(frozen=True, slots=True)
class GrantEntry:
    """A grant and what became of it: ``granted`` is the sum of the five after it."""

    id: int
    kind: str
    granted: MicroTokens
    remaining: MicroTokens
    held: MicroTokens
    spent: MicroTokens
    expired: MicroTokens
    revoked: MicroTokens
    priority: int
    effective_at: datetime
    expires_at: datetime | None


def issue(
    session: Session,
    *,
    tenant: str,
    amount: MicroTokens,
    kind: str,
    idem_key: str,
    actor: str,
    priority: int = 100,
    expires_at: datetime | None = None,
    now: datetime,
) -> Grant:
    """Give the tenant tokens, once per ``idem_key``.

    Keys come from facts and never expire, such as ``quota:{rule}:{wallet}:{local_date}``.

    Raises:
        InvalidAmountError: the amount is not positive, the kind is unknown, or it expires already.
        UnknownWalletError: the tenant has no wallet.
        ReplayMismatchError: the key was used before with other arguments.
    """
    if amount <= 0:
        raise InvalidAmountError("a grant must be more than 0 tokens")
    if kind not in set(GrantKind):
        raise InvalidAmountError(f"a grant is one of {', '.join(GrantKind)}, not {kind!r}")
    if expires_at is not None and expires_at <= now:
        raise InvalidAmountError(f"a grant must expire in the future, not at {expires_at}")
    row, created = ledger.book_grant(
        session,
        tenant=tenant,
        amount=amount,
        kind=GrantKind(kind).value,
        idem_key=idem_key,
        actor=actor,
        priority=priority,
        expires_at=expires_at,
        now=now,
    )
    return _grant(row, created=created)


def expire_due(session: Session, *, now: datetime, limit: int = 100) -> int:
    """Sweep the wallets of up to ``limit`` expired grants; returns how many wallets that were.

    Only statements wait for this: an expired grant cannot be spent before it either, and a hold
    or settlement of its wallet does the same on its way.
    """
    due = (
        select(token_grant.c.wallet)
        .where(token_grant.c.open, token_grant.c.expires_at <= now)
        .order_by(token_grant.c.expires_at)
        .limit(limit)
    )
    wallets = sorted(set(session.scalars(due)))
    for wallet_id in wallets:
        ledger.book_expiry(session, wallet_id=wallet_id, now=now)
    return len(wallets)


def listed(
    session: Session, tenant: str, *, limit: int = 50, after: int | None = None
) -> list[GrantEntry]:
    """All grants of a tenant, newest first, used up or not; ``after`` is the last id seen."""
    wanted = (
        select(token_grant)
        .join(wallet, wallet.c.id == token_grant.c.wallet)
        .where(wallet.c.tenant == tenant)
        .order_by(token_grant.c.id.desc())
        .limit(limit)
    )
    if after is not None:
        wanted = wanted.where(token_grant.c.id < after)
    names = [each.name for each in fields(GrantEntry)]
    return [
        GrantEntry(**{name: row[name] for name in names})
        for row in session.execute(wanted).mappings()
    ]


def _grant(row: RowMapping, *, created: bool) -> Grant:
    return Grant(
        id=row["id"],
        kind=GrantKind(row["kind"]),
        amount=row["granted"],
        remaining=row["remaining"],
        priority=row["priority"],
        effective_at=row["effective_at"],
        expires_at=row["expires_at"],
        created=created,
    )
