"""Making and switching on grant rules; what comes to much for one operator takes a second one."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.ids import new_id
from app.tenants.models import Tenant
from billing import approvals, grant_rules
from billing.amounts import MicroTokens, to_number
from billing.approvals import Approval
from billing.grant_rules import NewRule, Rule

APPROVAL_KIND: Final = "grant_rule"


def worth(session: Session, rule: NewRule) -> MicroTokens:
    """What the rule would give on one date to those it is for now."""
    members = select(func.count()).select_from(Tenant)
    if rule.group is not None:
        members = members.where(Tenant.group == rule.group)
    if rule.tenants is not None:
        members = members.where(Tenant.id.in_(rule.tenants))
    return MicroTokens(rule.amount * (session.scalar(members) or 0))


def create_rule(
    session: Session, wanted: NewRule, *, maker: str, alone: MicroTokens, now: datetime
) -> tuple[Rule, str | None]:
    """Make a rule; above ``alone`` tokens a date it stays off until a second operator agrees.

    Returns the rule and the id of the approval that it waits for. Raises as
    ``grant_rules.create`` does.
    """
    is_small = worth(session, wanted) <= alone
    made = grant_rules.create(
        session, wanted, rule_id=new_id("rule"), maker=maker, is_enabled=is_small, now=now
    )
    return made, None if is_small else _propose(session, made, maker=maker, now=now)


def enable_rule(
    session: Session, rule_id: str, *, maker: str, alone: MicroTokens, now: datetime
) -> tuple[Rule, str | None]:
    """Switch a rule on, or ask for a second operator; as ``create_rule``."""
    found = grant_rules.get(session, rule_id)
    if found.is_enabled or worth(session, found) <= alone:
        return grant_rules.switch(session, rule_id, is_enabled=True, now=now), None
    return found, _propose(session, found, maker=maker, now=now)


def enable_approved(session: Session, approval: Approval) -> Mapping[str, Any]:
    """What an approval of the kind ``grant_rule`` does."""
    now = approval.decided_at or datetime.now(UTC)
    grant_rules.switch(session, approval.payload["rule"], is_enabled=True, now=now)
    return {"enabled": True}


def _propose(session: Session, rule: Rule, *, maker: str, now: datetime) -> str:
    payload = {
        "rule": rule.id,
        "name": rule.name,
        "tokens_each": to_number(rule.amount),
        "tokens_a_date": to_number(worth(session, rule)),
    }
    asked = approvals.propose(
        session,
        approval_id=new_id("apr"),
        kind=APPROVAL_KIND,
        subject=rule.id,
        payload=payload,
        maker=maker,
        now=now,
    )
    return asked.id
