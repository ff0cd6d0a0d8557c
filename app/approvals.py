"""What an approval does, by its kind: the one list of effects, given to ``billing.approvals``."""

from collections.abc import Mapping

from app.grants import rules
from app.recharges import service
from billing.approvals import Effect


def effects() -> Mapping[str, Effect]:
    """The function of every kind of approval."""
    return {
        service.APPROVAL_KIND: service.book_approved,
        rules.APPROVAL_KIND: rules.enable_approved,
    }
