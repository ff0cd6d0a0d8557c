"""Reserve the most that a job can cost, before it is accepted."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens
from billing.caps import Cap, CapReachedError
from billing.errors import (
    FrozenWalletError,
    InsufficientTokensError,
    InvalidAmountError,
    ReplayMismatchError,
    UnknownWalletError,
)
from billing.ledger import NOBODY, Spender


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
    spender: Spender = NOBODY,
) -> Placed:
    """Move tokens from available to held, in draw order, in one round trip.

    The wallet stays locked until the caller's transaction ends: call this last and commit.
    ``now`` decides which grants have expired and which windows caps count in; it defaults to the
    database's clock.

    Raises:
        CapReachedError: a cap of the tenant or the spender leaves less than ``amount``; roll back.
        FrozenWalletError: an operator or a rule froze the wallet.
        InsufficientTokensError: less is available than ``amount``; roll back.
        ReplayMismatchError: the job has a hold already, with another id or amount.
        UnknownWalletError: the tenant has no wallet.
        InvalidAmountError: the amount is negative.
    """
    if amount < 0:
        raise InvalidAmountError("a hold cannot be negative")
    row = ledger.book_hold(
        session,
        tenant=tenant,
        hold=hold_id,
        job=job,
        amount=amount,
        expires_at=expires_at,
        now=now,
        spender=spender,
    )
    return judge(row.outcome, row.available, cap=row.cap, tenant=tenant, job=job, amount=amount)


def judge(
    outcome: str,
    available: int | None,
    *,
    cap: Mapping[str, Any] | None,
    tenant: str,
    job: str,
    amount: MicroTokens,
) -> Placed:
    """What ``place`` answers or raises for a row of ``ledger.HOLD_SQL``."""
    match outcome:
        case "capped":
            assert cap is not None  # noqa: S101 - the function says which
            raise CapReachedError(Cap.read(cap), needed=amount)
        case "frozen":
            raise FrozenWalletError("new jobs are not accepted; ask the operators to unfreeze")
        case "insufficient":
            raise InsufficientTokensError(amount, available or 0)
        case "mismatch":
            raise ReplayMismatchError(f"{job} has another hold already; a job is held for once")
        case "no_wallet":
            raise UnknownWalletError(f"{tenant} has no wallet; open one first")
    return Placed(MicroTokens(available or 0), replayed=outcome == "replayed")
