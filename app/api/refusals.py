"""A refused job is rolled back; that its cap is reached is told all the same."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.api.auth import current_tenant
from app.api.services import services, utc_now
from app.limits.notices import tell_of_refusal
from billing.caps import CapReachedError


@contextmanager
def refusals_told() -> Iterator[None]:
    """Around the unit of work of a submit: tell the owner of a cap that refused it, after it."""
    try:
        yield
    except CapReachedError as refusal:
        with services().unit_of_work() as session:
            tell_of_refusal(session, tenant_id=current_tenant(), cap=refusal.cap, at=utc_now())
        raise
