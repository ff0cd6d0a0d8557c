"""Reserve the most that a job can cost, before it is accepted."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens
from billing.errors import (
    InsufficientTokensError,
    InvalidAmountError,
    ReplayMismatchError,
    UnknownWalletError,
)


@dataclass(frozen=True, slots=True)
class Placed:
    """Tokens are reserved; ``available`` is what was left right after."""

    available: MicroTokens
    replayed: bool = False  # the same hold stood already; nothing moved


def place(
    session: Session,
    *,
    tenant: str,
    hold_id: str,
    job: str,
    amount: MicroTokens,
    expires_at: datetime,
    now: datetime | None = None,
) -> Placed:
    """Move tokens from available to held, in draw order, in one round trip.

    The wallet stays locked until the caller's transaction ends: call this last and commit.
    ``now`` decides which grants have expired and defaults to the database's clock.

    Raises:
        InsufficientTokensError: less is available than ``amount``; roll back.
        ReplayMismatchError: the job has a hold already, with another id or amount.
        UnknownWalletError: the tenant has no wallet.
        InvalidAmountError: the amount is negative.
    """
    if amount < 0:
        raise InvalidAmountError("a hold cannot be negative")
    outcome, available = ledger.book_hold(
        session,
        tenant=tenant,
        hold=hold_id,
        job=job,
        amount=amount,
        expires_at=expires_at,
        now=now,
    )
    return judge(outcome, available, tenant=tenant, job=job, amount=amount)


def judge(
    outcome: str, available: int | None, *, tenant: str, job: str, amount: MicroTokens
) -> Placed:
    """What ``place`` answers or raises for a row of ``ledger.HOLD_SQL``."""
    match outcome:
        case "insufficient":
            raise InsufficientTokensError(amount, available or 0)
        case "mismatch":
            raise ReplayMismatchError(f"{job} has another hold already; a job is held for once")
        case "no_wallet":
            raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    return Placed(MicroTokens(available or 0), replayed=outcome == "replayed")
