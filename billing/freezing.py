"""Freeze a wallet: no new hold is placed; what runs is settled, and reading goes on.

The mark stands in the wallet's row, which every hold locks, so it counts for the very next hold
in every process.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.errors import UnknownWalletError


@dataclass(frozen=True, slots=True)
class Frozen:
    """Since when and why."""

    at: datetime
    reason: str


# The row of before is read under its lock: of two at once only one has made the change.
_FREEZE = text(
    """
    WITH before AS (
        SELECT id, frozen_at FROM billing.wallet WHERE tenant = :tenant FOR UPDATE
    )
    UPDATE billing.wallet w
       SET frozen_at = coalesce(w.frozen_at, clock_timestamp()),
           frozen_reason = coalesce(w.frozen_reason, :reason)
      FROM before b WHERE w.id = b.id
    RETURNING w.frozen_at, w.frozen_reason, b.frozen_at IS NULL AS changed
    """
)
_UNFREEZE = text(
    """
    WITH before AS (
        SELECT id, frozen_at FROM billing.wallet WHERE tenant = :tenant FOR UPDATE
    )
    UPDATE billing.wallet w SET frozen_at = NULL, frozen_reason = NULL
      FROM before b WHERE w.id = b.id
    RETURNING b.frozen_at IS NOT NULL AS changed
    """
)
_STATE = text("SELECT frozen_at, frozen_reason FROM billing.wallet WHERE tenant = :tenant")


def freeze(session: Session, *, tenant: str, reason: str) -> tuple[Frozen, bool]:
    """Freeze; returns the state and whether this call made it. The first reason stands.

    Raises:
        UnknownWalletError: the tenant has no wallet.
    """
    row = session.execute(_FREEZE, {"tenant": tenant, "reason": reason}).one_or_none()
    if row is None:
        raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    return Frozen(row.frozen_at, row.frozen_reason), row.changed


def unfreeze(session: Session, *, tenant: str) -> bool:
    """Let holds be placed again; False when it was not frozen.

    Raises:
        UnknownWalletError: the tenant has no wallet.
    """
    row = session.execute(_UNFREEZE, {"tenant": tenant}).one_or_none()
    if row is None:
        raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    return bool(row.changed)


def frozen(session: Session, *, tenant: str) -> Frozen | None:
    """The state, or None when holds are placed."""
    row = session.execute(_STATE, {"tenant": tenant}).one_or_none()
    return (
        None if row is None or row.frozen_at is None else Frozen(row.frozen_at, row.frozen_reason)
    )
