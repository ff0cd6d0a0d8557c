"""``/v1/admin/anomalies`` and ``/v1/admin/anomaly-rules``: what is odd, and what counts as it."""

from datetime import datetime
from typing import Any, Literal

from apiflask import APIBlueprint, EmptySchema
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from app.anomalies.detection import finding_view
from app.anomalies.models import AnomalyFinding, AnomalyRule
from app.anomalies.rules import (
    Repeat,
    Spike,
    create_rule,
    end_rule,
    findings,
    invalid_rule,
    rules_in_force,
)
from app.api.audit_trail import note
from app.api.auth import admins_only, current_principal
from app.api.idempotency import bind, earlier_resource, requested
from app.api.replies import ListQuery, moment, page, reply
from app.api.schemas import Document, Listing, Tokens
from app.api.services import services
from app.errors import FieldError
from app.tenants.service import named_tenant
from billing.amounts import from_number, to_number

blueprint = APIBlueprint("admin_anomalies", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)

TERMS = {"spike": ("factor", "min_tokens", "min_hours"), "repeat": ("max_times", "minutes")}


class RuleRequest(BaseModel):
    """A new rule; it says either what a spike or what a repetition is."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["spike", "repeat"]
    tenant: str | None = Field(None, max_length=128, description="its name or id; else all")
    factor: int | float | None = Field(
        None, description="spike: of the mean active hour of the 14 days before"
    )
    min_tokens: int | float | None = Field(None, description="spike: less in an hour is never odd")
    min_hours: int | None = Field(None, description="spike: active hours that make a pattern")
    max_times: int | None = Field(None, description="repeat: so often is still fine")
    minutes: int | None = Field(None, description="repeat: within so many minutes")
    freeze: bool = Field(default=False, description="also freeze the tenant")

    def terms(self) -> Spike | Repeat:
        """The rule's own half of the fields, all of them and no other."""
        wanted = TERMS[self.kind]
        given = {
            name: value
            for names in TERMS.values()
            for name in names
            if (value := getattr(self, name)) is not None
        }
        wrong = [
            FieldError(f"/{name}", f"left out of a {self.kind}")
            for name in given
            if name not in wanted
        ]
        wrong += [FieldError(f"/{name}", "given") for name in wanted if name not in given]
        if wrong:
            raise invalid_rule(wrong)
        if self.kind == "repeat":
            return Repeat(**given)
        return Spike(**{**given, "min_tokens": from_number(given["min_tokens"])})


class RuleObject(Document):
    """A rule; the fields of the other kind are null."""

    id: str
    object: Literal["anomaly_rule"]
    kind: Literal["spike", "repeat"]
    tenant: str | None
    factor: float | None
    min_tokens: Tokens | None
    min_hours: int | None
    max_times: int | None
    minutes: int | None
    freeze: bool
    created_at: datetime


class RuleList(Listing):
    """One page of rules in force, oldest first."""

    data: list[RuleObject]


class FindingObject(Document):
    """Something odd; numbers are tokens of an hour, or times."""

    id: str
    object: Literal["anomaly"]
    rule: str
    tenant: str
    subject_kind: Literal["key", "end_user", "content"]
    subject: str
    observed: float
    expected: float
    since: datetime
    froze: bool
    found_at: datetime


class FindingList(Listing):
    """One page of findings, newest first."""

    data: list[FindingObject]


class FindingQuery(ListQuery):
    """Whose findings."""

    tenant: str | None = Field(None, max_length=128, description="name or id")


@blueprint.get("/anomalies")
@blueprint.input(FindingQuery, location="query", arg_name="wanted")
@blueprint.output(FindingList)
def index(wanted: FindingQuery) -> Response:
    """List what was found odd, newest first."""
    with services().unit_of_work() as session:
        tenant_id = None if wanted.tenant is None else named_tenant(session, wanted.tenant).id
        found = findings(session, limit=wanted.limit + 1, after=wanted.after, tenant_id=tenant_id)
    return page(found, limit=wanted.limit, view=finding_view, cursor=_id)


@blueprint.get("/anomaly-rules")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(RuleList)
def rules(wanted: ListQuery) -> Response:
    """List the rules in force, oldest first."""
    with services().unit_of_work() as session:
        found = rules_in_force(session, limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=_rule_view, cursor=_id)


@blueprint.post("/anomaly-rules")
@blueprint.input(RuleRequest, arg_name="wanted")
@blueprint.output(RuleObject, status_code=201)
def add_rule(wanted: RuleRequest) -> Response:
    """Say what counts as odd; a rule never changes, end it and make another."""
    owner, key = current_principal().key_id, requested(request.get_json())
    with services().unit_of_work() as session:
        known = earlier_resource(session, owner=owner, idempotency=key)
        rule = None if known is None else session.get(AnomalyRule, known)
        if rule is None:
            tenant = None if wanted.tenant is None else named_tenant(session, wanted.tenant).id
            rule = create_rule(session, wanted.terms(), tenant_id=tenant, freeze=wanted.freeze)
            note(
                session,
                action="anomaly_rule.create",
                subject=rule.id,
                detail=wanted.model_dump(mode="json"),
            )
            bind(session, owner=owner, idempotency=key, resource_id=rule.id)
        document = _rule_view(rule)
    return reply(document, 201)


@blueprint.delete("/anomaly-rules/<rule_id>")
@blueprint.output(EmptySchema, status_code=204, description="Ended")
def remove_rule(rule_id: str) -> Response:
    """End a rule; what it found stays."""
    with services().unit_of_work() as session:
        end_rule(session, rule_id)
        note(session, action="anomaly_rule.end", subject=rule_id, detail={})
    return Response(status=204)


def _id(row: AnomalyRule | AnomalyFinding) -> str:
    return row.id


def _rule_view(rule: AnomalyRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "object": "anomaly_rule",
        "kind": rule.kind,
        "tenant": rule.tenant_id,
        "factor": rule.factor,
        "min_tokens": None if rule.min_tokens is None else to_number(rule.min_tokens),
        "min_hours": rule.min_hours,
        "max_times": rule.max_times,
        "minutes": rule.minutes,
        "freeze": rule.freezes,
        "created_at": moment(rule.created_at),
    }
