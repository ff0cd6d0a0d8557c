"""Writes what an operator did through the API into the audit log."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.api.auth import current_operator, current_principal
from app.api.services import utc_now
from billing.audit import record


def note(session: Session, *, action: str, subject: str, detail: Mapping[str, Any]) -> None:
    """Record an action of the request at hand under the person behind its key.

    The key's id stands in the detail. In the log if, and only if, the transaction commits.
    """
    record(
        session,
        actor=current_operator(),
        action=action,
        subject=subject,
        detail={"key": current_principal().key_id, **detail},
        now=utc_now(),
    )
