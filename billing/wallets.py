"""What a tenant has: balance, open grants, statement. Reads only, except opening."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sqlalchemy import RowMapping, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.errors import UnknownWalletError
from billing.tables import wallet


@dataclass(frozen=True, slots=True)
class GrantLeft:
    """A grant that still can be drawn from."""

    id: int
    kind: str
    remaining: MicroTokens
    priority: int
    expires_at: datetime | None
    token_price: Decimal | None = None  # yuan for each of its tokens, locked by a pack


@dataclass(frozen=True, slots=True)
class Balance:
    """What can be spent, what running jobs hold, what is owed; grants in the order of drawing."""

    available: MicroTokens  # without what has expired, even if nobody has swept it
    held: MicroTokens
    version: int  # of the wallet: rises with every change
    debt: MicroTokens  # charged and not paid; what open holds have borrowed is in ``held``
    grants: tuple[GrantLeft, ...]
    credit: MicroTokens  # what a postpaid tenant may still owe


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a statement. ``amount`` and ``held`` are signed changes."""

    id: int  # the cursor: rises with time within a wallet
    at: datetime
    kind: str  # grant | hold | settle | expire | void | refund | revoke | repay | correction
    amount: MicroTokens  # of what is available
    held: MicroTokens  # of what jobs hold
    balance_after: MicroTokens  # available after the line
    job: str | None
    grant: int | None
    ref: str


# One statement, so one snapshot: wallet and grants belong together.
_BALANCE = text(
    """
    SELECT w.available, w.held, w.version,
           w.debt - coalesce((SELECT c.held FROM billing.token_grant c WHERE c.id = w.credit_grant),
                             0) AS owed,
           CASE w.mode WHEN 'postpaid' THEN w.debt_limit - w.debt ELSE 0 END AS credit,
           g.id, g.kind, g.remaining, g.priority, g.expires_at,
           g.expires_at <= coalesce(:now, clock_timestamp()) AS lapsed, p.token_price
      FROM billing.wallet w LEFT JOIN billing.token_grant g ON g.wallet = w.id AND g.open
      LEFT JOIN billing.purchase p ON p.token_grant = g.id
     WHERE w.tenant = :tenant
     ORDER BY g.priority, g.expires_at NULLS LAST, g.id
    """
)

_ENTRIES = text(
    """
    SELECT j.id, j.occurred_at, j.kind, j.ref, j.available_after, t.available, t.held, t.token_grant
      FROM billing.journal j, LATERAL (
           SELECT coalesce(sum(CASE WHEN t.credit = 'available' THEN t.amount
                                    WHEN t.debit = 'available' THEN -t.amount END), 0) AS available,
                  coalesce(sum(CASE WHEN t.credit = 'held' THEN t.amount
                                    WHEN t.debit = 'held' THEN -t.amount END), 0) AS held,
                  CASE WHEN min(t.token_grant) = max(t.token_grant)
                       THEN min(t.token_grant) END AS token_grant
             FROM billing.transfer t WHERE t.journal = j.id) t
     WHERE j.wallet = (SELECT w.id FROM billing.wallet w WHERE w.tenant = :tenant)
       AND j.id < :after
       AND (CAST(:kind AS text) IS NULL OR j.kind = :kind)
       AND (CAST(:since AS timestamptz) IS NULL OR j.occurred_at >= :since)
       AND (CAST(:until AS timestamptz) IS NULL OR j.occurred_at < :until)
     ORDER BY j.id DESC LIMIT :limit
    """
)
_BEYOND_EVERY_ID = 2**63 - 1


def open_wallet(session: Session, tenant: str) -> None:
    """Make sure the tenant has a wallet; a second call changes nothing."""
    session.execute(insert(wallet).values(tenant=tenant).on_conflict_do_nothing())


def balance(session: Session, tenant: str, *, now: datetime | None = None) -> Balance:
    """What the tenant has; ``now`` defaults to the database's clock.

    Raises:
        UnknownWalletError: nobody opened a wallet for the tenant.
    """
    rows = session.execute(_BALANCE, {"tenant": tenant, "now": now}).mappings().all()
    if not rows:
        raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    lapsed = sum(row["remaining"] for row in rows if row["lapsed"])
    return Balance(
        available=MicroTokens(rows[0]["available"] - lapsed),
        held=rows[0]["held"],
        version=rows[0]["version"],
        debt=MicroTokens(int(rows[0]["owed"])),
        grants=tuple(
            GrantLeft(
                id=row["id"],
                kind=row["kind"],
                remaining=row["remaining"],
                priority=row["priority"],
                expires_at=row["expires_at"],
                token_price=row["token_price"],
            )
            for row in rows
            if row["id"] is not None and not row["lapsed"]
        ),
        credit=MicroTokens(rows[0]["credit"]),
    )


def entries(
    session: Session,
    tenant: str,
    *,
    limit: int = 50,
    after: int | None = None,
    kind: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Entry]:
    """Statement lines, newest first; ``after`` is the id of the last line already seen.

    ``since`` is included, ``until`` is not.

    Raises:
        UnknownWalletError: nobody opened a wallet for the tenant.
    """
    before = _BEYOND_EVERY_ID if after is None else after
    values = {
        "tenant": tenant,
        "limit": limit,
        "after": before,
        "kind": kind,
        "since": since,
        "until": until,
    }
    rows = session.execute(_ENTRIES, values).mappings().all()
    if not rows and not session.scalar(select(wallet.c.id).where(wallet.c.tenant == tenant)):
        raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    return [_entry(row) for row in rows]


def _entry(row: RowMapping) -> Entry:
    about_job = row["kind"] in {"hold", "settle", "void", "refund"}
    return Entry(
        id=row["id"],
        at=row["occurred_at"],
        kind=row["kind"],
        amount=MicroTokens(int(row["available"])),
        held=MicroTokens(int(row["held"])),
        balance_after=row["available_after"],
        job=row["ref"] if about_job else None,
        grant=row["token_grant"],
        ref=row["ref"],
    )
