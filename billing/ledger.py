"""The only writer of journal and transfer, and so of every balance.

Each function is one business event in the caller's transaction: it locks the wallet first, books
a journal with its transfers, and moves the cached columns of wallet and grants with them. Lock
order everywhere: wallets (rising by id), grants, hold, journal.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Row, RowMapping, insert, select, text, update
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.errors import ReplayMismatchError, UnknownWalletError
from billing.tables import journal, token_grant, transfer, wallet

# Where granted tokens come from.
SOURCES: Final[Mapping[str, str]] = {
    "purchase": "cash_clearing",
    "subscription": "cash_clearing",
    "bulk": "cash_clearing",
    "grant": "promo_issued",
    "quota": "quota_issued",
    "refund": "refunds",
}

# Also the first step of the statement that makes a job: see ``billing.holds.judge``.
HOLD_SQL: Final = (
    "SELECT outcome, available, cap"
    " FROM billing.place_hold(:tenant, :hold, :job, :amount, :expires_at, :now, :project_id,"
    " :api_key_id, :end_user)"
)
_HOLD = text(HOLD_SQL)
# The charge is written by the statement that moves the tokens. SKIP LOCKED: a worker that listed
# the job keeps its row of the work list locked and will find the charge.
_SETTLE = text(
    """
    WITH moved AS MATERIALIZED (
        SELECT * FROM billing.settle_hold(:job, :price, :now)
    ), done AS (
        DELETE FROM billing.settlement_due WHERE job IN (
            SELECT job FROM billing.settlement_due WHERE job = :job FOR UPDATE SKIP LOCKED)
    )
    INSERT INTO billing.charge (
        job, wallet, hold, outcome, cached, status, card, card_version, quantities, attributes,
        lines, multipliers, price, held, charged, released, lapsed, absorbed, available_after,
        settled_at)
    SELECT :job, wallet, hold, :outcome, :cached, :status, :card, :card_version,
           CAST(:quantities AS jsonb), CAST(:attributes AS jsonb), CAST(:lines AS jsonb),
           CAST(:multipliers AS jsonb), :price, held, charged, released, lapsed, absorbed,
           available_after, settled_at
      FROM moved WHERE moved.outcome = 'settled'
    RETURNING charged, released, lapsed, absorbed, available_after
    """
)
_SHED = text("SELECT billing.shed_expired(:wallet, :now)")


@dataclass(frozen=True, slots=True)
class Spender:
    """Who in the tenant spends; ids are opaque strings, and caps count by them."""

    project: str | None = None
    api_key: str | None = None
    end_user: str | None = None


NOBODY: Final = Spender()


def book_hold(
    session: Session,
    *,
    tenant: str,
    hold: str,
    job: str,
    amount: MicroTokens,
    expires_at: datetime,
    now: datetime | None,
    spender: Spender,
) -> Row[Any]:
    """Reserve tokens; returns ``outcome``, ``available`` after it and the ``cap`` that is reached.

    Outcomes: placed, replayed (the same hold again), mismatch, frozen, insufficient, capped,
    no_wallet.
    """
    return session.execute(
        _HOLD,
        {
            "tenant": tenant,
            "hold": hold,
            "job": job,
            "amount": amount,
            "expires_at": expires_at,
            "now": now,
            "project_id": spender.project,
            "api_key_id": spender.api_key,
            "end_user": spender.end_user,
        },
    ).one()


def book_settlement(
    session: Session,
    *,
    job: str,
    price: MicroTokens,
    charge: Mapping[str, Any],
    now: datetime | None,
) -> RowMapping | None:
    """Capture, release and write the charge; None when the hold is closed already."""
    values = {"job": job, "price": price, "now": now, **charge}
    return session.execute(_SETTLE, values).mappings().one_or_none()


def book_expiry(session: Session, *, wallet_id: int, now: datetime) -> None:
    """Move what has expired in one wallet to breakage."""
    session.execute(select(wallet.c.id).where(wallet.c.id == wallet_id).with_for_update())
    session.execute(_SHED, {"wallet": wallet_id, "now": now})


def book_grant(
    session: Session,
    *,
    tenant: str,
    amount: MicroTokens,
    kind: str,
    idem_key: str,
    actor: str,
    priority: int,
    expires_at: datetime | None,
    now: datetime,
) -> tuple[RowMapping, bool]:
    """Issue tokens; returns the grant's row and whether this call made it.

    Raises:
        UnknownWalletError: the tenant has no wallet.
        ReplayMismatchError: the key was used before for something else.
    """
    owner = locked_wallet(session, tenant)
    fingerprint = f"{kind}:{amount}:{priority}:{expires_at.isoformat() if expires_at else ''}"
    known = _find_grant(session, owner, idem_key=idem_key, fingerprint=fingerprint)
    if known is not None:
        return known, False
    session.execute(_SHED, {"wallet": owner, "now": now})
    grant = _insert_grant(
        session,
        wallet=owner,
        kind=kind,
        priority=priority,
        effective_at=now,
        expires_at=expires_at,
        granted=amount,
        remaining=amount,
    )
    available = session.execute(
        update(wallet)
        .where(wallet.c.id == owner)
        .values(available=wallet.c.available + amount, version=wallet.c.version + 1)
        .returning(wallet.c.available)
    ).scalar_one()
    entry = session.execute(
        insert(journal)
        .values(
            wallet=owner,
            idem_key=idem_key,
            fingerprint=fingerprint,
            kind="grant",
            ref=str(grant["id"]),
            occurred_at=now,
            actor=actor,
            available_after=available,
        )
        .returning(journal.c.id)
    ).scalar_one()
    session.execute(
        insert(transfer).values(
            journal=entry,
            seq=1,
            wallet=owner,
            debit=SOURCES[kind],
            credit="available",
            amount=amount,
            token_grant=grant["id"],
        )
    )
    return grant, True


def locked_wallet(session: Session, tenant: str) -> int:
    """The id of a tenant's wallet, locked until the transaction ends.

    Raises:
        UnknownWalletError: the tenant has no wallet.
    """
    found: int | None = session.scalar(
        select(wallet.c.id).where(wallet.c.tenant == tenant).with_for_update()
    )
    if found is None:
        raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    return found


def _find_grant(
    session: Session, owner: int, *, idem_key: str, fingerprint: str
) -> RowMapping | None:
    """The grant that this key made before, if its arguments were the same."""
    entry = session.execute(
        select(journal.c.fingerprint, journal.c.kind, journal.c.ref).where(
            journal.c.wallet == owner, journal.c.idem_key == idem_key
        )
    ).one_or_none()
    if entry is None:
        return None
    if entry.kind != "grant" or entry.fingerprint != fingerprint:
        raise ReplayMismatchError(
            f"the key {idem_key!r} was used before with other arguments; use a new key"
        )
    return (
        session.execute(select(token_grant).where(token_grant.c.id == int(entry.ref)))
        .mappings()
        .one()
    )


def _insert_grant(session: Session, **values: object) -> RowMapping:
    return (
        session.execute(insert(token_grant).values(**values).returning(token_grant))
        .mappings()
        .one()
    )
