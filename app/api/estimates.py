"""``/v1/estimates``: what a batch of jobs would cost, asking for its tokens, starting it."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.auth import current_principal, current_tenant
from app.api.estimate_schemas import EstimateObject
from app.api.idempotency import bind, earlier_resource, requested
from app.api.item_list import ItemListRequest, forecast_of, priced
from app.api.replies import moment, reply
from app.api.services import Services, services, utc_now
from app.estimates import service
from app.estimates.models import EstimateItem
from app.estimates.pricing import BadItem
from app.estimates.service import Found
from app.files.intake import Intake
from app.speeds.outlook import NO_FORECAST
from billing.amounts import from_number, to_number

ITEMS_MAX = 1000

blueprint = APIBlueprint("estimates", __name__, url_prefix="/v1/estimates", tag="Jobs")


class EstimateRequest(ItemListRequest):
    """A batch: each item is a job body, completed by the defaults."""

    items: list[dict[str, Any]] = Field(min_length=1, max_length=ITEMS_MAX)


@blueprint.post("")
@blueprint.input(EstimateRequest, arg_name="wanted")
@blueprint.output(EstimateObject, status_code=201)
def create(wanted: EstimateRequest) -> Response:
    """Price a batch of jobs, with its batch discount, and keep it with its inputs for four days.

    `shortfall` is what the balance lacks: ask for it with `/request-recharge`, or `/start` at once.
    """
    kit, now = services(), utc_now()
    tenant_id, key = current_tenant(), requested(request.get_json())
    session = kit.database.session()
    skipped: list[BadItem] = []
    with kit.desk.open(session, tenant_id=tenant_id, now=now) as intake, session.begin():
        known = earlier_resource(session, owner=tenant_id, idempotency=key)
        if known is None:
            known, skipped = _created(kit, session, intake, wanted)
            bind(session, owner=tenant_id, idempotency=key, resource_id=known)
        found = service.find(session, tenant_id=tenant_id, estimate_id=known, now=now)
    return reply(_view(found, skipped), 201, {"Location": f"/v1/estimates/{known}"})


def _created(
    kit: Services, session: Session, intake: Intake, wanted: EstimateRequest
) -> tuple[str, list[BadItem]]:
    good, bad = priced(kit, intake, wanted)
    estimate_id = service.create(
        session,
        box=kit.box,
        intake=intake,
        caller=current_principal(),
        items=good,
        forecast=forecast_of(kit, session, good),
        max_tokens=None if wanted.max_tokens is None else from_number(wanted.max_tokens),
        now=intake.now,
    )
    return estimate_id, bad


@blueprint.get("/<estimate_id>")
@blueprint.output(EstimateObject)
def show(estimate_id: str) -> Response:
    """Show an estimate: where it stands, and the jobs that it became."""
    with services().unit_of_work() as session:
        found = service.find(
            session, tenant_id=current_tenant(), estimate_id=estimate_id, now=utc_now()
        )
    return reply(_view(found))


@blueprint.post("/<estimate_id>/request-recharge")
@blueprint.output(EstimateObject, status_code=202)
def request_recharge(estimate_id: str) -> Response:
    """Ask the operators for the tokens that are missing; when one agrees, the jobs start."""
    with services().unit_of_work() as session:
        found = service.request_recharge(
            session, tenant_id=current_tenant(), estimate_id=estimate_id, now=utc_now()
        )
    return reply(_view(found), 202)


@blueprint.post("/<estimate_id>/start")
@blueprint.output(EstimateObject, status_code=202)
def start(estimate_id: str) -> Response:
    """Start the jobs within seconds; the balance has to cover all of them.

    No job costs more than it was estimated at: one whose price rose since is refused.
    """
    with services().unit_of_work() as session:
        found = service.start(
            session, tenant_id=current_tenant(), estimate_id=estimate_id, now=utc_now()
        )
    return reply(_view(found), 202)


def _view(found: Found, skipped: list[BadItem] | None = None) -> dict[str, Any]:
    estimate = found.estimate
    return {
        "id": estimate.id,
        "object": "estimate",
        "status": found.status.value,
        "total": estimate.items,
        "tokens": to_number(estimate.tokens),
        "balance": to_number(found.available),
        "shortfall": to_number(found.shortfall),
        "sufficient": found.shortfall == 0,
        **(estimate.forecast or NO_FORECAST),
        "items": [_item_view(item) for item in found.items],
        "skipped": [
            {"index": each.position, "code": each.code, "detail": each.detail}
            for each in skipped or ()
        ],
        "recharge": estimate.recharge_id,
        "approval": found.approval,
        "created_at": moment(estimate.created_at),
        "expires_at": moment(estimate.expires_at),
        "started_at": moment(estimate.started_at),
        "finished_at": moment(estimate.finished_at),
    }


def _item_view(item: EstimateItem) -> dict[str, Any]:
    error = None
    if item.error_code is not None:
        error = {"code": item.error_code, "detail": item.error_detail or ""}
    return {
        "index": item.position,
        "engine": item.engine,
        "model": item.model,
        "tokens": to_number(item.tokens),
        "job": item.job_id,
        "error": error,
    }
