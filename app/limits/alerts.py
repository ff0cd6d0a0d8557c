"""Below what balance the owner is told."""

from typing import Any

from sqlalchemy.orm import Session

from app.errors import FieldError, InvalidRequestError
from billing.amounts import from_number, to_number
from billing.notices import watch_balance, watched_balance


def set_alert(session: Session, *, tenant_id: str, below: int | float | None) -> None:
    """Set the threshold in tokens, or None for no alert.

    Raises:
        InvalidAmountError: no amount of tokens.
        InvalidRequestError: code ``invalid_alert``; a balance is never below 0.
    """
    threshold = None if below is None else from_number(below)
    if threshold == 0:
        raise InvalidRequestError(
            "A balance is never below 0. Send null for no alert.",
            code="invalid_alert",
            errors=[FieldError("/below", "above 0, or null")],
        )
    watch_balance(session, tenant=tenant_id, threshold=threshold)


def alert_view(session: Session, *, tenant_id: str) -> dict[str, Any]:
    """The threshold as the public sees it."""
    threshold = watched_balance(session, tenant=tenant_id)
    return {"below": None if threshold is None else to_number(threshold)}
