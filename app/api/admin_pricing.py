"""``/v1/admin/pricing-rules`` and ``/overruns``: what changes prices, and what the house paid."""

from datetime import UTC, datetime, timedelta
from typing import Any

from apiflask import APIBlueprint
from flask import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from app.api.auth import admins_only, current_operator
from app.api.price_schemas import OverrunReport, RuleList, RuleObject, RuleRequest
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.catalog.rules import publish_checked_rule
from billing.amounts import to_number
from billing.overruns import overruns
from billing.pricing_rules import Rule, list_rules

blueprint = APIBlueprint("pricing", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)

DEFAULT_PERIOD = timedelta(days=30)
# Nothing was settled outside; the calendar has room for both ends of a period.
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)


class RulesQuery(BaseModel):
    """Which rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str | None = Field(None, max_length=64, description="Only rules of this kind.")


class PeriodQuery(BaseModel):
    """Which charges; by default those of the last 30 days."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: AwareDatetime | None = Field(
        None, ge=EARLIEST, le=LATEST, description="Settled at this time or later."
    )
    until: AwareDatetime | None = Field(
        None, ge=EARLIEST, le=LATEST, description="Settled before this time."
    )


@blueprint.get("/pricing-rules")
@blueprint.input(RulesQuery, location="query", arg_name="wanted")
@blueprint.output(RuleList)
def index(wanted: RulesQuery) -> Response:
    """List every version of the rules that change prices beside the cards."""
    with services().unit_of_work() as session:
        found = list_rules(session, kind=wanted.kind)
    return reply({"data": [_view(each) for each in found], "next_cursor": None, "has_more": False})


@blueprint.post("/pricing-rules")
@blueprint.input(RuleRequest, arg_name="wanted")
@blueprint.output(RuleObject, status_code=201)
def add(wanted: RuleRequest) -> Response:
    """Publish the next version of a rule; a rule that says nothing turns it off."""
    with services().unit_of_work() as session:
        made = publish_checked_rule(
            session,
            kind=wanted.kind,
            subject=wanted.subject,
            body=wanted.body,
            effective_from=wanted.effective_from,
            actor=current_operator(),
            now=utc_now(),
        )
    return reply(_view(made), 201)


@blueprint.get("/overruns")
@blueprint.input(PeriodQuery, location="query", arg_name="wanted")
@blueprint.output(OverrunReport)
def overrun_report(wanted: PeriodQuery) -> Response:
    """Report prices above their holds, impossible compute times and work without a price."""
    until = wanted.until or utc_now()
    since = wanted.since or until - DEFAULT_PERIOD
    with services().unit_of_work() as session:
        found = overruns(session, since=since, until=until)
    rows = [
        {
            "rate_card": each.card_id,
            "engine": each.engine,
            "model": each.model,
            "jobs": each.jobs,
            "overrun_jobs": each.overrun_jobs,
            "overrun_absorbed": to_number(each.absorbed),
            "quarantined_jobs": each.quarantined_jobs,
            "unpriced_jobs": each.unpriced_jobs,
        }
        for each in found
    ]
    document = {
        "since": moment(since),
        "until": moment(until),
        "overrun_absorbed": to_number(sum(each.absorbed for each in found)),
        "data": rows,
    }
    return reply(document)


def _view(rule: Rule) -> dict[str, Any]:
    return {
        "object": "pricing_rule",
        "kind": rule.kind.value,
        "subject": rule.subject,
        "version": rule.version,
        "effective_from": moment(rule.effective_from),
        "published_at": moment(rule.published_at),
        "published_by": rule.published_by,
        "body": dict(rule.body),
    }
