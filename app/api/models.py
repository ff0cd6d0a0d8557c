"""``GET /v1/models``: what may be called, with which parameters, at what price."""

from apiflask import APIBlueprint
from flask import Response

from app.api.auth import current_tenant
from app.api.money_schemas import EngineList
from app.api.replies import reply
from app.api.services import services, utc_now
from app.weights.service import own_versions

blueprint = APIBlueprint("models", __name__, url_prefix="/v1/models", tag="Models")


@blueprint.get("")
@blueprint.output(EngineList)
def index() -> Response:
    """List the engines: models and versions, parameters as JSON schema, prices of this tenant."""
    kit = services()
    with kit.unit_of_work() as session:
        tenant_id = current_tenant()
        own = own_versions(session, kit.catalog, tenant_id=tenant_id)
        found = kit.catalog.describe(session, tenant_id=tenant_id, now=utc_now(), own=own)
    return reply({"data": found, "next_cursor": None, "has_more": False})
