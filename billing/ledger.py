"""The only writer of journal and transfer, and so of every balance.

Each function is one business event in the caller's transaction: it locks the wallet first, books
a journal with its transfers, and moves the cached columns of wallet and grants with them. Lock
order everywhere: wallets (rising by id), grants, hold, journal.
"""

import json
from collections.abc import Mapping, Sequence
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
    "goodwill": "goodwill",
}
CREDIT_PRIORITY: Final = 2**31 - 1  # lent last; no draw walks over it anyway


@dataclass(frozen=True, slots=True)
class Line:
    """A transfer to be booked: from ``debit`` to ``credit``."""

    debit: str
    credit: str
    amount: int
    grant: int | None = None


# Also the first step of the statement that makes a job: see ``billing.holds.judge``.
HOLD_SQL: Final = (
    "SELECT outcome, available, cap"
    " FROM billing.place_hold(:tenant, :hold, :job, :amount, :expires_at, :now, :project_id,"
    " :api_key_id, :end_user)"
)
# Many holds of one wallet, the same as one by one in the order of the arrays: the source of rows of
# a statement that names them ``t``, see ``app.batches.opening``.
HOLDS_SQL: Final = (
    "billing.place_holds(t.tenant, t.holds, t.jobs, t.amounts, t.expire_at, NULL, t.projects,"
    " t.api_keys, t.end_users)"
)
_HOLD = text(HOLD_SQL)
# The charges are written by the statement that moves the tokens. SKIP LOCKED: a worker that listed
# a job keeps its row of the work list locked and will find the charge.
_SETTLE = text(
    """
    WITH moved AS MATERIALIZED (
        SELECT * FROM billing.settle_holds(:jobs, :prices, :now)
    ), done AS (
        DELETE FROM billing.settlement_due WHERE job IN (
            SELECT job FROM billing.settlement_due WHERE job = ANY(:jobs) FOR UPDATE SKIP LOCKED)
    ), charged AS (
        INSERT INTO billing.charge (
            job, wallet, hold, outcome, cached, status, card, card_version, quantities, attributes,
            lines, multipliers, price, held, charged, released, lapsed, absorbed, available_after,
            settled_at)
        SELECT m.job, m.wallet, m.hold, u.outcome, u.cached,
               CASE m.outcome WHEN 'late' THEN 'late' ELSE a.status END, u.card, u.card_version,
               coalesce(CAST(a.quantities AS jsonb), u.quantities), u.attributes,
               CAST(a.lines AS jsonb), u.multipliers, m.charged + m.absorbed,
               m.held, m.charged, m.released, m.lapsed, m.absorbed, m.available_after,
               m.settled_at
          FROM moved m
          JOIN billing.usage_record u ON u.job = m.job
          JOIN unnest(CAST(:jobs AS text[]), CAST(:statuses AS text[]), CAST(:quantities AS text[]),
                      CAST(:lines AS text[])) a (job, status, quantities, lines) ON a.job = m.job
         WHERE m.outcome IN ('settled', 'late')
        RETURNING job, status, charged, released, lapsed, absorbed, available_after
    )
    SELECT * FROM charged
    """
)
_BOOK = text(
    "SELECT billing.book(:wallet, :key, :fingerprint, :kind, :ref, :actor, :approval, :reverses,"
    " :now, CAST(:lines AS jsonb))"
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


@dataclass(frozen=True, slots=True)
class Rated:
    """A job's price and what its charge has to keep; JSON as text."""

    job: str
    price: MicroTokens
    status: str
    quantities: str | None  # None: as the usage record has them
    lines: str


def book_settlements(
    session: Session, *, rated: Sequence[Rated], now: datetime | None
) -> dict[str, RowMapping]:
    """Capture, release and write the charges of many jobs in one statement, by job.

    The same as one by one in the order given. Jobs without a hold or with a charge are left out.
    """
    values = {
        "jobs": [each.job for each in rated],
        "prices": [each.price for each in rated],
        "statuses": [each.status for each in rated],
        "quantities": [each.quantities for each in rated],
        "lines": [each.lines for each in rated],
        "now": now,
    }
    return {row["job"]: row for row in session.execute(_SETTLE, values).mappings()}


def book(
    session: Session,
    *,
    wallet_id: int,
    idem_key: str,
    fingerprint: str,
    kind: str,
    ref: str,
    actor: str,
    lines: Sequence[Line],
    approval: str | None = None,
    reverses: int | None = None,
    now: datetime,
) -> int:
    """Book what is not on the way of every job; returns the journal's id.

    The caller has locked the wallet and found the key free. What the lines mean for the columns of
    wallet and grants is decided in one place, the function ``billing.grant_moves``.
    """
    values = {
        "wallet": wallet_id,
        "key": idem_key,
        "fingerprint": fingerprint,
        "kind": kind,
        "ref": ref,
        "actor": actor,
        "approval": approval,
        "reverses": reverses,
        "now": now,
        "lines": json.dumps([[each.debit, each.credit, each.amount, each.grant] for each in lines]),
    }
    journal_id: int = session.execute(_BOOK, values).scalar_one()
    return journal_id


def known_entry(session: Session, wallet_id: int, idem_key: str) -> RowMapping | None:
    """The journal that was booked under this key, if any."""
    return (
        session.execute(
            select(journal).where(journal.c.wallet == wallet_id, journal.c.idem_key == idem_key)
        )
        .mappings()
        .one_or_none()
    )


def book_expiry(session: Session, *, wallet_id: int, now: datetime) -> None:
    """Lock one wallet and move what has expired in it to breakage."""
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
    grant = insert_grant(
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


def insert_grant(session: Session, **values: object) -> RowMapping:
    """A new row of ``token_grant``; the caller books what makes it so."""
    return (
        session.execute(insert(token_grant).values(**values).returning(token_grant))
        .mappings()
        .one()
    )
