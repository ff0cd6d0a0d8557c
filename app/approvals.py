"""What an approval does, by its kind: the one list of effects, given to ``billing.approvals``."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.orm import Session

from app import corrections
from app.estimates.service import mark_started
from app.grants import rules
from app.recharges import service
from billing.approvals import Approval, Effect


def effects() -> Mapping[str, Effect]:
    """The function of every kind of approval."""
    return {
        service.APPROVAL_KIND: _recharge,
        rules.APPROVAL_KIND: rules.enable_approved,
        **dict.fromkeys(corrections.KINDS, corrections.correct),
    }


def _recharge(session: Session, approval: Approval) -> Mapping[str, Any]:
    """Book it; if it is for an estimate, let that start."""
    result = service.book_approved(session, approval)
    estimate_id = approval.payload.get("estimate")
    if estimate_id is not None:
        mark_started(session, estimate_id, now=approval.decided_at or datetime.now(UTC))
    return result
