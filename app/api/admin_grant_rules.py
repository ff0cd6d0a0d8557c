"""``/v1/admin/grant-rules``: what is given by the clock, to whom, how much and for how long."""

from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.admin_schemas import GrantRuleList, GrantRuleObject
from app.api.audit_trail import note
from app.api.auth import admins_only, current_operator, current_principal
from app.api.idempotency import bind, earlier_resource, requested
from app.api.replies import ListQuery, moment, page, reply
from app.api.services import services, utc_now
from app.errors import FieldError, InvalidRequestError
from app.grants.rules import create_rule, enable_rule
from app.recharges.order import positive_amount
from app.tenants.lookup import tenant_ids
from billing import grant_rules
from billing.amounts import MicroTokens, from_number, to_number
from billing.grant_rules import PRIORITY, NewRule, Rule
from billing.grant_schedule import RuleKind

blueprint = APIBlueprint(
    "admin_grant_rules", __name__, url_prefix="/v1/admin/grant-rules", tag="Admin"
)
blueprint.before_request(admins_only)


class GrantRuleRequest(BaseModel):
    """A new rule."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: str = Field(min_length=1, max_length=128)
    kind: Literal["daily", "monthly", "reward", "campaign"]
    amount: int | float = Field(description="tokens for each tenant")
    group: Literal["free", "vip", "enterprise"] | None = Field(None, description="null: all groups")
    tenants: list[str] | None = Field(
        None, min_length=1, max_length=10_000, description="campaign: names or ids"
    )
    month_day: int | None = Field(None, description="monthly: 1 to 31, or the month's last day")
    measure: Literal["jobs", "outputs"] | None = Field(
        None, description="reward: succeeded jobs, or files they delivered, on the date before"
    )
    at_least: int | None = Field(None, ge=1, le=2**31 - 1, description="reward: how many")
    starts_at: AwareDatetime | None = Field(None, strict=False)
    ends_at: AwareDatetime | None = Field(None, strict=False)
    lifetime_days: int | None = Field(
        None, description="local dates until the tokens expire; 1: not accumulated; null: never"
    )
    expires_at: AwareDatetime | None = Field(None, strict=False, description="campaign")
    priority: int = Field(PRIORITY, ge=0, le=1000, description="lower is drawn first")


@blueprint.get("")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(GrantRuleList)
def index(wanted: ListQuery) -> Response:
    """List rules, newest first."""
    with services().unit_of_work() as session:
        found = grant_rules.listed(session, limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=_view, cursor=lambda each: each.id)


@blueprint.post("")
@blueprint.input(GrantRuleRequest, arg_name="wanted")
@blueprint.output(GrantRuleObject, status_code=201)
def add(wanted: GrantRuleRequest) -> Response:
    """Make a rule; it grants from the next local date that begins.

    A rule that gives more in one date than an operator may alone stays off until another approves.
    """
    owner, now = current_principal().key_id, utc_now()
    key = requested(request.get_json())
    approval = None
    with services().unit_of_work() as session:
        known = earlier_resource(session, owner=owner, idempotency=key)
        if known is not None:
            made = grant_rules.get(session, known)
        else:
            new = _new_rule(session, wanted)
            made, approval = create_rule(
                session, new, maker=current_operator(), alone=_alone(), now=now
            )
            _log(session, "grant_rule.create", made)
            bind(session, owner=owner, idempotency=key, resource_id=made.id)
    return reply({**_view(made), "approval": approval}, 201)


@blueprint.get("/<rule_id>")
@blueprint.output(GrantRuleObject)
def show(rule_id: str) -> Response:
    """Show one rule."""
    with services().unit_of_work() as session:
        found = grant_rules.get(session, rule_id)
    return reply(_view(found))


@blueprint.post("/<rule_id>/enable")
@blueprint.output(GrantRuleObject)
def enable(rule_id: str) -> Response:
    """Switch a rule on; nothing of the time that it was off is caught up."""
    with services().unit_of_work() as session:
        found, approval = enable_rule(
            session, rule_id, maker=current_operator(), alone=_alone(), now=utc_now()
        )
        _log(session, "grant_rule.enable", found)
    return reply({**_view(found), "approval": approval})


@blueprint.post("/<rule_id>/disable")
@blueprint.output(GrantRuleObject)
def disable(rule_id: str) -> Response:
    """Switch a rule off at once; what it gave stays."""
    with services().unit_of_work() as session:
        found = grant_rules.switch(session, rule_id, is_enabled=False, now=utc_now())
        _log(session, "grant_rule.disable", found)
    return reply(_view(found))


def _new_rule(session: Session, wanted: GrantRuleRequest) -> NewRule:
    return NewRule(
        name=wanted.name,
        kind=RuleKind(wanted.kind),
        amount=positive_amount(wanted.amount),
        group=wanted.group,
        tenants=None if wanted.tenants is None else _ids(session, wanted.tenants),
        month_day=wanted.month_day,
        measure=wanted.measure,
        at_least=wanted.at_least,
        starts_at=wanted.starts_at,
        ends_at=wanted.ends_at,
        lifetime_days=wanted.lifetime_days,
        expires_at=wanted.expires_at,
        priority=wanted.priority,
    )


def _ids(session: Session, called: list[str]) -> list[str]:
    """The tenants of a campaign; one that is unknown stops the whole rule."""
    found = tenant_ids(session, called)
    unknown = [(place, name) for place, name in enumerate(called) if name not in found]
    if unknown:
        detail = f"No tenant is called {unknown[0][1][:80]!r}. Correct the list."
        places = [FieldError(f"/tenants/{place}", "no such tenant") for place, _ in unknown[:50]]
        raise InvalidRequestError(detail, code="unknown_user", errors=places)
    return sorted(set(found.values()))


def _alone() -> MicroTokens:
    return from_number(services().settings.recharge_alone_tokens)


def _log(session: Session, action: str, rule: Rule) -> None:
    detail = {"name": rule.name, "kind": rule.kind.value, "tokens": to_number(rule.amount)}
    note(session, action=action, subject=rule.id, detail=detail)


def _view(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "object": "grant_rule",
        "name": rule.name,
        "kind": rule.kind.value,
        "amount": to_number(rule.amount),
        "group": rule.group,
        "tenants": None if rule.tenants is None else list(rule.tenants),
        "month_day": rule.month_day,
        "measure": rule.measure,
        "at_least": rule.at_least,
        "starts_at": moment(rule.starts_at),
        "ends_at": moment(rule.ends_at),
        "lifetime_days": rule.lifetime_days,
        "expires_at": moment(rule.expires_at),
        "priority": rule.priority,
        "enabled": rule.is_enabled,
        "enabled_at": moment(rule.enabled_at),
        "maker": rule.maker,
        "approval": None,
        "created_at": moment(rule.created_at),
    }
