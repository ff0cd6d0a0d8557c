"""``GET /v1/models``: what may be called, with which parameters, at what price."""

from apiflask import APIBlueprint
from flask import Response

from app.api.auth import current_tenant
from app.api.money_schemas import EngineList
from app.api.replies import reply
from app.api.services import services, utc_now

blueprint = APIBlueprint("models", __name__, url_prefix="/v1/models", tag="Models")


@blueprint.get("")
@blueprint.output(EngineList)
def index() -> Response:
    """List the engines: models and versions, parameters as JSON schema, prices of this tenant."""
    kit = services()
    with kit.unit_of_work() as session:
        found = kit.catalog.describe(session, tenant_id=current_tenant(), now=utc_now())
    return reply({"data": found, "next_cursor": None, "has_more": False})
