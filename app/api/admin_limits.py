"""``/v1/admin/tenants/{id}``: caps, freezing and unfreezing by an operator."""

from apiflask import APIBlueprint, EmptySchema
from flask import Response

from app.api.audit_trail import note
from app.api.auth import admins_only
from app.api.limit_schemas import (
    CapList,
    CapObject,
    CapRequest,
    FreezeRequest,
    FrozenObject,
)
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.limits.caps import end_cap, list_caps, set_cap
from app.limits.freezing import freeze_tenant, unfreeze_tenant
from app.tenants.service import get_tenant
from billing.caps import SetBy

blueprint = APIBlueprint(
    "admin_limits", __name__, url_prefix="/v1/admin/tenants/<tenant_id>", tag="Admin"
)
blueprint.before_request(admins_only)


@blueprint.get("/cap")
@blueprint.output(CapList)
def index(tenant_id: str) -> Response:
    """List the caps of a tenant, its own and the operators'."""
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        found = list_caps(session, tenant_id=tenant_id)
    return reply({"data": found, "next_cursor": None, "has_more": False})


@blueprint.post("/cap")
@blueprint.input(CapRequest, arg_name="wanted")
@blueprint.output(CapObject, status_code=201)
def create(tenant_id: str, wanted: CapRequest) -> Response:
    """Set a cap that the tenant cannot raise; the same again changes the limit."""
    with services().unit_of_work() as session:
        cap, _ = set_cap(session, tenant_id=tenant_id, set_by=SetBy.OPERATOR, wish=wanted.wish())
        note(session, action="cap.set", subject=tenant_id, detail=wanted.model_dump(mode="json"))
    return reply(cap, 201)


@blueprint.delete("/cap/<cap_id>")
@blueprint.output(EmptySchema, status_code=204, description="Ended")
def remove(tenant_id: str, cap_id: str) -> Response:
    """Take an operators' cap away; the tenant's own stay."""
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        end_cap(session, tenant_id=tenant_id, cap_id=cap_id, set_by=SetBy.OPERATOR)
        note(session, action="cap.end", subject=tenant_id, detail={"cap": cap_id})
    return Response(status=204)


@blueprint.post("/freeze")
@blueprint.input(FreezeRequest, arg_name="wanted")
@blueprint.output(FrozenObject)
def freeze(tenant_id: str, wanted: FreezeRequest) -> Response:
    """Refuse new jobs with `tenant_frozen`, at once and everywhere; running ones finish."""
    with services().unit_of_work() as session:
        state = freeze_tenant(session, tenant_id=tenant_id, reason=wanted.reason, at=utc_now())
        note(session, action="tenant.freeze", subject=tenant_id, detail={"reason": wanted.reason})
    return reply(
        {
            "tenant": tenant_id,
            "frozen": True,
            "reason": state.reason,
            "frozen_at": moment(state.at),
        }
    )


@blueprint.post("/unfreeze")
@blueprint.output(FrozenObject)
def unfreeze(tenant_id: str) -> Response:
    """Accept new jobs again."""
    with services().unit_of_work() as session:
        changed = unfreeze_tenant(session, tenant_id=tenant_id)
        note(session, action="tenant.unfreeze", subject=tenant_id, detail={"changed": changed})
    return reply({"tenant": tenant_id, "frozen": False, "reason": None, "frozen_at": None})
