"""A hold is a lease: whoever works on its job extends it, and what nobody extends is given back.

The grace after the lease is longer than every attempt of a job together, so a hold is given back
only when nothing can settle it any more. Should something settle it after all, the settlement
takes what is available then, once.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

LEASE: Final = timedelta(hours=24)  # from each sign of life on
GRACE: Final = timedelta(hours=24)  # three attempts of the longest run fit in twice

# A row is written only when half of the lease is used up, however often a worker asks.
_EXTEND = text(
    """
    UPDATE billing.hold SET expires_at = coalesce(:now, clock_timestamp()) + :lease
     WHERE job = ANY(:jobs) AND state = 'open'
       AND expires_at < coalesce(:now, clock_timestamp()) + :lease / 2
    """
)
_OVERDUE = text(
    """
    SELECT h.job FROM billing.hold h
     WHERE h.state = 'open' AND h.expires_at < :now - CAST(:grace AS interval)
       AND NOT EXISTS (SELECT FROM billing.usage_record u WHERE u.job = h.job)
     ORDER BY h.wallet, h.expires_at LIMIT :limit
    """
)
_VOID = text("SELECT billing.void_hold(:job, 'lease', NULL, :now)")


def extend(session: Session, *, jobs: Sequence[str], now: datetime | None = None) -> None:
    """Say that somebody works on these jobs or that they wait in the queue."""
    session.execute(_EXTEND, {"jobs": list(jobs), "lease": LEASE, "now": now})


def overdue(session: Session, *, now: datetime, limit: int = 100) -> list[str]:
    """Jobs whose hold is beyond lease and grace and which left no usage, by wallet."""
    values = {"now": now, "grace": GRACE, "limit": limit}
    return list(session.scalars(_OVERDUE, values))


def give_back(session: Session, *, job: str, now: datetime) -> bool:
    """Give a hold back to its grants; False when it was closed before. Commit soon."""
    given: bool = session.execute(_VOID, {"job": job, "now": now}).scalar_one()
    return given
