"""Corrections of the ledger that a second operator has to approve: proposing and doing them."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from app.ids import new_id
from billing import approvals, corrections
from billing.approvals import Approval
from billing.corrections import Correction

REVERSE: Final = "ledger.reverse"  # swap the transfers of one entry
REBUILD: Final = "ledger.rebuild"  # set a tenant's columns to what the transfers say
VOID: Final = "ledger.void"  # give back the hold of a job that left nothing to settle
KINDS: Final = (REVERSE, REBUILD, VOID)


def propose(
    session: Session, *, kind: str, subject: str, reason: str, maker: str, now: datetime
) -> Approval:
    """Ask for a second person; ``subject`` is an entry's id, a tenant or a job."""
    return approvals.propose(
        session,
        approval_id=new_id("apr"),
        kind=kind,
        subject=subject,
        payload={"subject": subject, "reason": reason},
        maker=maker,
        now=now,
    )


def correct(session: Session, approval: Approval) -> Mapping[str, Any]:
    """Do what was approved, in the transaction of the approval."""
    made = _do(session, approval, now=datetime.now(UTC))
    return {"entry": str(made.journal), "wallet": made.wallet}


def _do(session: Session, approval: Approval, *, now: datetime) -> Correction:
    subject, actor = str(approval.payload["subject"]), approval.maker
    if approval.kind == REVERSE:
        return corrections.reverse(
            session, journal_id=int(subject), approval=approval.id, actor=actor, now=now
        )
    if approval.kind == REBUILD:
        return corrections.rebuild(
            session, tenant=subject, approval=approval.id, actor=actor, now=now
        )
    return corrections.void(session, job=subject, approval=approval.id, actor=actor, now=now)
