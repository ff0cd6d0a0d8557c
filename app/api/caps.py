"""``/v1/caps`` and ``/v1/balance/alert``: a tenant's own limits and warnings."""

from apiflask import APIBlueprint, EmptySchema
from flask import Response

from app.api.auth import current_tenant
from app.api.limit_schemas import AlertObject, AlertRequest, CapList, CapObject, CapRequest
from app.api.replies import reply
from app.api.services import services
from app.limits.alerts import alert_view, set_alert
from app.limits.caps import end_cap, list_caps, set_cap
from billing.caps import SetBy

blueprint = APIBlueprint("caps", __name__, url_prefix="/v1", tag="Money")


@blueprint.get("/caps")
@blueprint.output(CapList)
def index() -> Response:
    """List the caps in force, the operators' and your own, and how full they are."""
    with services().unit_of_work() as session:
        found = list_caps(session, tenant_id=current_tenant())
    return reply({"data": found, "next_cursor": None, "has_more": False})


@blueprint.post("/caps")
@blueprint.input(CapRequest, arg_name="wanted")
@blueprint.output(CapObject, status_code=201)
def create(wanted: CapRequest) -> Response:
    """Set a cap of your own. It stands beside the operators' caps: whichever is lower binds.

    The same scope, subject and window again changes the limit.
    """
    with services().unit_of_work() as session:
        cap, _ = set_cap(
            session, tenant_id=current_tenant(), set_by=SetBy.TENANT, wish=wanted.wish()
        )
    return reply(cap, 201)


@blueprint.delete("/caps/<cap_id>")
@blueprint.output(EmptySchema, status_code=204, description="Ended")
def remove(cap_id: str) -> Response:
    """Take a cap of your own away; an operator's stays."""
    with services().unit_of_work() as session:
        end_cap(session, tenant_id=current_tenant(), cap_id=cap_id, set_by=SetBy.TENANT)
    return Response(status=204)


@blueprint.get("/balance/alert")
@blueprint.output(AlertObject)
def show_alert() -> Response:
    """Show below what a `balance.low` event is sent."""
    with services().unit_of_work() as session:
        return reply(alert_view(session, tenant_id=current_tenant()))


@blueprint.post("/balance/alert")
@blueprint.input(AlertRequest, arg_name="wanted")
@blueprint.output(AlertObject)
def put_alert(wanted: AlertRequest) -> Response:
    """Set below what a `balance.low` event is sent: once, until the balance has recovered."""
    with services().unit_of_work() as session:
        set_alert(session, tenant_id=current_tenant(), below=wanted.below)
        return reply(alert_view(session, tenant_id=current_tenant()))
