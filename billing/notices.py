"""What an owner has to be told once: how full a cap is, and that a balance runs low.

A crossing is written down by the statement that finds it; a second look, or two looks at once,
find nothing. What is told, and to whom, is the caller's: in the same transaction.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens
from billing.caps import Cap

PERCENTS: Final = (50, 80, 95, 100)  # of a cap's limit, charged
FULL: Final = 100  # also when a hold was refused
REARM_PERCENT: Final = 110  # of the threshold: a balance above it may be low again


@dataclass(frozen=True, slots=True)
class CapCrossing:
    """A cap passed a threshold in its present window; the highest of those passed at once."""

    tenant: str
    percent: int
    cap: Cap


@dataclass(frozen=True, slots=True)
class LowBalance:
    """A balance fell below its threshold."""

    tenant: str
    available: MicroTokens
    threshold: MicroTokens


_CROSSED = text(
    """
    WITH crossed AS (
        SELECT b.id AS budget, u.subject, u.window_start, b.amount, p.percent
          FROM billing.budget b
          CROSS JOIN LATERAL (SELECT coalesce(:now, clock_timestamp()) AS at) clock
          JOIN billing.budget_usage u
            ON u.budget = b.id AND u.window_start = billing.window_of(b.period, b.zone, clock.at)
          CROSS JOIN unnest(CAST(:percents AS integer[])) AS p (percent)
         WHERE b.ended_at IS NULL AND b.amount > 0 AND u.used * 100 >= b.amount * p.percent
    ), noted AS (
        INSERT INTO billing.budget_notice (budget, subject, window_start, amount, percent)
        SELECT c.budget, c.subject, c.window_start, c.amount, c.percent FROM crossed c
        ON CONFLICT DO NOTHING RETURNING budget, subject, window_start, percent
    )
    SELECT DISTINCT ON (n.budget, n.subject, n.window_start)
           w.tenant, n.percent, b.id, b.set_by, b.scope, n.subject, b.period, b.zone,
           b.amount AS limit, n.window_start AS window, u.used, u.reserved
      FROM noted n
      JOIN billing.budget b ON b.id = n.budget
      JOIN billing.wallet w ON w.id = b.wallet
      JOIN billing.budget_usage u
        ON u.budget = n.budget AND u.subject = n.subject AND u.window_start = n.window_start
     ORDER BY n.budget, n.subject, n.window_start, n.percent DESC
    """
)
_NOTE_FULL = text(
    """
    INSERT INTO billing.budget_notice (budget, subject, window_start, amount, percent)
    VALUES (:budget, :subject, :window, :amount, :percent)
    ON CONFLICT DO NOTHING RETURNING budget
    """
)
_WATCH = text(
    """
    INSERT INTO billing.balance_watch (wallet, threshold) VALUES (:wallet, :threshold)
    ON CONFLICT (wallet) DO UPDATE SET threshold = excluded.threshold, low_since = NULL
     WHERE balance_watch.threshold <> excluded.threshold
    """
)
_UNWATCH = text("DELETE FROM billing.balance_watch WHERE wallet = :wallet")
_WATCHED = text(
    "SELECT b.threshold FROM billing.balance_watch b JOIN billing.wallet w ON w.id = b.wallet"
    " WHERE w.tenant = :tenant"
)
_LOW = text(
    """
    UPDATE billing.balance_watch b SET low_since = clock_timestamp()
      FROM billing.wallet w
     WHERE w.id = b.wallet AND b.low_since IS NULL AND w.available < b.threshold
    RETURNING w.tenant, w.available, b.threshold
    """
)
_REARM = text(
    """
    UPDATE billing.balance_watch b SET low_since = NULL
      FROM billing.wallet w
     WHERE w.id = b.wallet AND b.low_since IS NOT NULL
       AND w.available * 100 >= b.threshold * :percent
    """
)


def crossed_caps(session: Session, *, now: datetime | None = None) -> list[CapCrossing]:
    """Thresholds that caps passed since the last look; each is returned once, ever."""
    rows = session.execute(_CROSSED, {"now": now, "percents": list(PERCENTS)}).mappings()
    return [CapCrossing(row["tenant"], row["percent"], Cap.read(dict(row))) for row in rows]


def note_reached(session: Session, cap: Cap) -> bool:
    """Note that a cap refused a hold; False when its owner was told in this window already."""
    values = {
        "budget": cap.id,
        "subject": cap.subject,
        "window": cap.window,
        "amount": cap.limit,
        "percent": FULL,
    }
    return session.execute(_NOTE_FULL, values).one_or_none() is not None


def watch_balance(session: Session, *, tenant: str, threshold: MicroTokens | None) -> None:
    """Set below what the owner is told, or None for never; the same again changes nothing.

    Raises:
        UnknownWalletError: the tenant has no wallet.
    """
    wallet = ledger.locked_wallet(session, tenant)
    if threshold is None:
        session.execute(_UNWATCH, {"wallet": wallet})
    else:
        session.execute(_WATCH, {"wallet": wallet, "threshold": threshold})


def watched_balance(session: Session, *, tenant: str) -> MicroTokens | None:
    """Below what the owner is told; None: never."""
    found: int | None = session.scalar(_WATCHED, {"tenant": tenant})
    return None if found is None else MicroTokens(found)


def low_balances(session: Session) -> list[LowBalance]:
    """Balances that fell below their thresholds since the last look.

    One that was low is told of again only after it was a tenth above its threshold.
    """
    session.execute(_REARM, {"percent": REARM_PERCENT})
    return [LowBalance(row.tenant, row.available, row.threshold) for row in session.execute(_LOW)]
