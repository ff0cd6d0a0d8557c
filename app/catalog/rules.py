"""Publishing a pricing rule for somebody who exists."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from app.tenants.service import get_tenant
from billing.pricing_rules import EVERYBODY, Rule, RuleKind, publish_rule

FOR_TENANTS: Final = frozenset(
    {RuleKind.TIME_OF_DAY.value, RuleKind.GPU_LOAD.value, RuleKind.TENANT_OVERRIDE.value}
)


def publish_checked_rule(
    session: Session,
    *,
    kind: str,
    subject: str,
    body: Mapping[str, Any],
    actor: str,
    effective_from: datetime | None = None,
    now: datetime,
) -> Rule:
    """Publish a rule; to billing a tenant is an opaque text, so its id is looked up here.

    Raises:
        NotFoundError: code ``tenant_not_found``.
        BillingError: what ``publish_rule`` refuses.
    """
    if kind in FOR_TENANTS and subject != EVERYBODY:
        get_tenant(session, subject)
    return publish_rule(
        session,
        kind=kind,
        subject=subject,
        body=body,
        actor=actor,
        effective_from=effective_from,
        now=now,
    )
