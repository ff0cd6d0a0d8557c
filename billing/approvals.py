"""Two people for one decision: who proposes can never approve.

An approval is proposed, then approved, rejected or expired, once. What it allows happens in the
transaction that approves it, by a function that the caller gives for its kind; when that function
refuses, the approval stays pending and nothing happened.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.orm import Session

from billing.errors import (
    ApprovalDecidedError,
    ApprovalExpiredError,
    SelfApprovalError,
    UnknownApprovalError,
)
from billing.tables import approval

LIFETIME: Final = timedelta(hours=72)


class ApprovalState(StrEnum):
    """Where an approval stands; all but the first are final."""

    PENDING = "pending"  # waits for a second person
    APPROVED = "approved"  # a second person agreed, and it was done
    REJECTED = "rejected"  # somebody said no, or the maker took it back
    EXPIRED = "expired"  # nobody decided in time


@dataclass(frozen=True, slots=True)
class Approval:
    """A decision asked for. ``maker`` and ``checker`` are people, not keys."""

    id: str
    kind: str  # chooses the effect
    subject: str  # what it is about, for people and for lists
    payload: Mapping[str, Any]  # all that the effect needs
    maker: str
    state: ApprovalState
    checker: str | None
    reason: str | None  # why it was rejected
    result: Mapping[str, Any] | None  # what the effect answered
    created_at: datetime
    expires_at: datetime
    decided_at: datetime | None


# Does what was approved, in the transaction of the approval; its answer is kept as ``result``. The
# approval it gets says already who agreed and when.
Effect = Callable[[Session, Approval], Mapping[str, Any]]


def propose(
    session: Session,
    *,
    approval_id: str,
    kind: str,
    subject: str,
    payload: Mapping[str, Any],
    maker: str,
    now: datetime,
) -> Approval:
    """Ask for a second person; it is decided within 72 hours or expires."""
    row = session.execute(
        insert(approval)
        .values(
            id=approval_id,
            kind=kind,
            subject=subject,
            payload=dict(payload),
            maker=maker,
            created_at=now,
            expires_at=now + LIFETIME,
        )
        .returning(approval)
    )
    return _approval(row.mappings().one())


def approve(
    session: Session,
    *,
    approval_id: str,
    checker: str,
    effects: Mapping[str, Effect],
    now: datetime,
) -> Approval:
    """Agree as a second person, and do it.

    Raises:
        UnknownApprovalError: there is none with this id.
        ApprovalDecidedError: it was decided before.
        ApprovalExpiredError: its 72 hours are over.
        SelfApprovalError: the maker is the same person.
    """
    found = _locked(session, approval_id, now=now)
    if found.maker == checker:
        raise SelfApprovalError(
            f"{checker} proposed this and cannot approve it; ask another operator to"
        )
    result = effects[found.kind](session, replace(found, checker=checker, decided_at=now))
    return _decide(
        session, approval_id, state=ApprovalState.APPROVED, checker=checker, now=now, result=result
    )


def reject(
    session: Session, *, approval_id: str, checker: str, reason: str = "", now: datetime
) -> Approval:
    """Say no, or take back what one proposed oneself; raises like ``approve``, but never for self.

    What waited for it is dropped: nothing was done and nothing will be.
    """
    _locked(session, approval_id, now=now)
    return _decide(
        session, approval_id, state=ApprovalState.REJECTED, checker=checker, now=now, reason=reason
    )


def expire_due(session: Session, *, now: datetime, limit: int = 1000) -> int:
    """Close what nobody decided in time; returns how many. Only lists wait for this."""
    due = (
        select(approval.c.id)
        .where(approval.c.state == ApprovalState.PENDING.value, approval.c.expires_at <= now)
        .order_by(approval.c.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    closed = session.execute(
        update(approval)
        .where(approval.c.id.in_(due))
        .values(state=ApprovalState.EXPIRED.value, decided_at=now)
        .returning(approval.c.id)
    )
    return len(closed.all())


def get(session: Session, approval_id: str) -> Approval:
    """One approval; raises ``UnknownApprovalError``."""
    row = session.execute(select(approval).where(approval.c.id == approval_id))
    found = row.mappings().one_or_none()
    if found is None:
        raise UnknownApprovalError(f"there is no approval {approval_id!r}; check the id")
    return _approval(found)


def listed(
    session: Session,
    *,
    state: str | None = None,
    kind: str | None = None,
    limit: int = 50,
    after: str | None = None,
) -> list[Approval]:
    """Approvals, newest first (ids sort by time); ``after`` is the last id already seen."""
    wanted = select(approval).order_by(approval.c.id.desc()).limit(limit)
    if state is not None:
        wanted = wanted.where(approval.c.state == state)
    if kind is not None:
        wanted = wanted.where(approval.c.kind == kind)
    if after is not None:
        wanted = wanted.where(approval.c.id < after)
    return [_approval(row) for row in session.execute(wanted).mappings()]


def _locked(session: Session, approval_id: str, *, now: datetime) -> Approval:
    """The pending approval, locked until the transaction ends: of two deciders one waits."""
    row = session.execute(select(approval).where(approval.c.id == approval_id).with_for_update())
    mapping = row.mappings().one_or_none()
    if mapping is None:
        raise UnknownApprovalError(f"there is no approval {approval_id!r}; check the id")
    found = _approval(mapping)
    if found.state is ApprovalState.EXPIRED or (
        found.state is ApprovalState.PENDING and found.expires_at <= now
    ):
        raise ApprovalExpiredError(
            f"the approval {approval_id} expired at {found.expires_at:%Y-%m-%d %H:%M} UTC; "
            "propose it again"
        )
    if found.state is not ApprovalState.PENDING:
        raise ApprovalDecidedError(
            f"the approval {approval_id} was {found.state} by {found.checker} before; "
            "nothing was changed now"
        )
    return found


def _decide(
    session: Session,
    approval_id: str,
    *,
    state: ApprovalState,
    checker: str,
    now: datetime,
    reason: str | None = None,
    result: Mapping[str, Any] | None = None,
) -> Approval:
    row = session.execute(
        update(approval)
        .where(approval.c.id == approval_id)
        .values(
            state=state.value,
            checker=checker,
            reason=reason,
            result=None if result is None else dict(result),
            decided_at=now,
        )
        .returning(approval)
    )
    return _approval(row.mappings().one())


def _approval(row: RowMapping) -> Approval:
    return Approval(**{**row, "state": ApprovalState(row["state"])})
