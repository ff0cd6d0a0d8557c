"""A month of a wallet: opening balance, what moved it day by day, closing balance. Reads only.

The balance is what the tenant owns: available + held - debt. Holding and releasing move nothing
of it, so a statement shows what came in and what was used, expired or given back. Every number is
a sum of transfers: the closing balance is the ledger's.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens

# The other side of a transfer, in the words of a statement.
KINDS: Final[Mapping[str, str]] = {
    "cash_clearing": "purchase",
    "promo_issued": "grant",
    "quota_issued": "quota",
    "revenue": "usage",
    "refunds": "refund",
    "breakage": "expired",
    "goodwill": "goodwill",
}


@dataclass(frozen=True, slots=True)
class Movement:
    """Everything of one kind, over the period or over a day of it; signed micro-tokens."""

    kind: str
    entries: int
    tokens: MicroTokens
    day: date | None = None  # None: the whole period
    balance_after: MicroTokens | None = None  # at the end of the day


@dataclass(frozen=True, slots=True)
class Entry:
    """One booking."""

    at: datetime
    kind: str
    ref: str  # a job, a grant
    tokens: MicroTokens
    balance_after: MicroTokens


@dataclass(frozen=True, slots=True)
class Statement:
    """opening + movements = closing."""

    tenant: str
    start: datetime
    end: datetime
    opening: MicroTokens
    closing: MicroTokens
    movements: tuple[Movement, ...]
    days: tuple[Movement, ...]


_OWN = "('available', 'held', 'debt')"
# A transfer moves the balance when exactly one of its sides is the wallet's.
_MOVES = f"""
    SELECT j.id, j.occurred_at, j.ref,
           CASE WHEN t.debit IN {_OWN} THEN t.credit ELSE t.debit END AS account,
           CASE WHEN t.debit IN {_OWN} THEN -t.amount ELSE t.amount END AS change
      FROM billing.journal j JOIN billing.transfer t ON t.journal = j.id
     WHERE j.wallet = (SELECT w.id FROM billing.wallet w WHERE w.tenant = :tenant)
       AND (t.debit IN {_OWN}) <> (t.credit IN {_OWN})
"""  # noqa: S608 - constants
_OPENING = text(
    f"SELECT coalesce(sum(m.change), 0)::bigint FROM ({_MOVES}) m WHERE m.occurred_at < :start"  # noqa: S608
)
_DAYS = text(
    f"""
    SELECT (m.occurred_at AT TIME ZONE :zone)::date AS day, m.account,
           count(DISTINCT m.id) AS entries, sum(m.change)::bigint AS tokens
      FROM ({_MOVES}) m WHERE m.occurred_at >= :start AND m.occurred_at < :end
     GROUP BY 1, 2 ORDER BY 1, 2
    """  # noqa: S608 - constants
)
_ENTRIES = text(
    f"""
    SELECT m.occurred_at AS at, m.account, m.ref, sum(m.change)::bigint AS tokens
      FROM ({_MOVES}) m WHERE m.occurred_at >= :start AND m.occurred_at < :end
     GROUP BY m.occurred_at, m.id, m.account, m.ref ORDER BY m.occurred_at, m.id, m.account
    """  # noqa: S608 - constants
)
_CHUNK = 1000


def statement(
    session: Session, tenant: str, *, start: datetime, end: datetime, zone: str
) -> Statement:
    """What moved the balance from ``start`` to before ``end``, by days of ``zone``."""
    period = {"tenant": tenant, "start": start, "end": end}
    opening = balance_at(session, tenant, start)
    balance = opening
    days, sums = [], dict[str, tuple[int, int]]()
    for row in session.execute(_DAYS, {**period, "zone": zone}):
        kind = kind_of(row.account)
        balance += row.tokens
        days.append(
            Movement(kind, row.entries, MicroTokens(row.tokens), row.day, MicroTokens(balance))
        )
        entries, tokens = sums.get(kind, (0, 0))
        sums[kind] = (entries + row.entries, tokens + row.tokens)
    movements = [
        Movement(kind, entries, MicroTokens(tokens)) for kind, (entries, tokens) in sums.items()
    ]
    return Statement(
        tenant=tenant,
        start=start,
        end=end,
        opening=opening,
        closing=MicroTokens(balance),
        movements=tuple(sorted(movements, key=lambda each: (-each.tokens, each.kind))),
        days=tuple(days),
    )


def balance_at(session: Session, tenant: str, at: datetime) -> MicroTokens:
    """What the tenant owned before ``at``."""
    found = session.execute(_OPENING, {"tenant": tenant, "start": at}).scalar_one()
    return MicroTokens(found)


def statement_entries(
    session: Session, tenant: str, *, start: datetime, end: datetime
) -> Iterator[Entry]:
    """Every booking of the period, oldest first, read in chunks."""
    balance = balance_at(session, tenant, start)
    period = {"tenant": tenant, "start": start, "end": end}
    rows = session.execute(_ENTRIES, period, execution_options={"yield_per": _CHUNK})
    for row in rows:
        balance = MicroTokens(balance + row.tokens)
        yield Entry(row.at, kind_of(row.account), row.ref, MicroTokens(row.tokens), balance)


def kind_of(account: str) -> str:
    """The word for the other side of a transfer; an account without one is its own."""
    return KINDS.get(account, account)
