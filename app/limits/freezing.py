"""Freeze a tenant and tell its owner, in one transaction."""

from datetime import datetime

from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidRequestError
from app.tenants.service import get_tenant
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from billing import freezing
from billing.freezing import Frozen

REASON_LENGTH_MAX = 500


def freeze_tenant(session: Session, *, tenant_id: str, reason: str, at: datetime) -> Frozen:
    """Refuse new jobs from the next hold on; freezing twice keeps the first reason.

    Raises:
        InvalidRequestError: code ``reason_missing``.
        NotFoundError: code ``tenant_not_found``.
    """
    if not 0 < len(reason.strip()) <= REASON_LENGTH_MAX:
        raise InvalidRequestError(
            f"Give a reason of 1 to {REASON_LENGTH_MAX} characters; the tenant will read it.",
            code="reason_missing",
            errors=[FieldError("/reason", f"1 to {REASON_LENGTH_MAX} characters")],
        )
    get_tenant(session, tenant_id)
    state, changed = freezing.freeze(session, tenant=tenant_id, reason=reason.strip())
    if changed:
        record_event(
            session,
            tenant_id=tenant_id,
            event=EventType.TENANT_FROZEN,
            data={
                "tenant": tenant_id,
                "reason": state.reason,
                "frozen_at": state.at.isoformat().replace("+00:00", "Z"),
            },
            at=at,
        )
    return state


def unfreeze_tenant(session: Session, *, tenant_id: str) -> bool:
    """Accept new jobs again; False when it was not frozen.

    Raises:
        NotFoundError: code ``tenant_not_found``.
    """
    get_tenant(session, tenant_id)
    return freezing.unfreeze(session, tenant=tenant_id)
