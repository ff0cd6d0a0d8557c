"""``/v1/webhook-endpoints``: the addresses that a tenant wants its events sent to."""

from typing import Any

from apiflask import APIBlueprint, EmptySchema
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import current_tenant
from app.api.idempotency import bind, earlier_resource, requested
from app.api.replies import ListQuery, moment, page, reply
from app.api.services import services, utc_now
from app.api.webhook_schemas import EndpointCreated, EndpointList, EndpointObject, EventBooked
from app.jobs.spec import WebAddress
from app.webhooks.events import EventType
from app.webhooks.models import WebhookEndpoint
from app.webhooks.service import record_test
from app.webhooks.subscription import (
    create_endpoint,
    delete_endpoint,
    endpoints,
    get_endpoint,
    rotate_secret,
)

blueprint = APIBlueprint("endpoints", __name__, url_prefix="/v1/webhook-endpoints", tag="Webhooks")


class EndpointRequest(BaseModel):
    """An address and what it wants to hear."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: WebAddress
    events: list[EventType] = Field(
        default=[], max_length=16, description="Empty: every final event of a job."
    )


@blueprint.post("")
@blueprint.input(EndpointRequest, arg_name="wanted")
@blueprint.output(EndpointCreated, status_code=201)
def create(wanted: EndpointRequest) -> Response:
    """Add an address. Its signing secret is in this answer and in no other."""
    kit, tenant_id = services(), current_tenant()
    key = requested(request.get_json())
    with kit.unit_of_work() as session:
        known = earlier_resource(session, owner=tenant_id, idempotency=key)
        if known is not None:
            endpoint = get_endpoint(session, tenant_id=tenant_id, endpoint_id=known)
            secret = kit.box.decrypt(endpoint.secret)
        else:
            endpoint, secret = create_endpoint(
                session,
                box=kit.box,
                policy=kit.outbound,
                tenant_id=tenant_id,
                url=wanted.url,
                events=[event.value for event in wanted.events],
            )
            bind(session, owner=tenant_id, idempotency=key, resource_id=endpoint.id)
        session.refresh(endpoint)
    return reply({**_view(endpoint), "secret": secret}, 201)


@blueprint.get("")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(EndpointList)
def index(wanted: ListQuery) -> Response:
    """List the addresses, oldest first."""
    with services().unit_of_work() as session:
        found = endpoints(session, tenant_id=current_tenant())
    rest = [each for each in found if wanted.after is None or each.id > wanted.after]
    shown = rest[: wanted.limit + 1]
    return page(shown, limit=wanted.limit, view=_view, cursor=lambda each: each.id)


@blueprint.get("/<endpoint_id>")
@blueprint.output(EndpointObject)
def show(endpoint_id: str) -> Response:
    """Show an address, without its secret."""
    with services().unit_of_work() as session:
        endpoint = get_endpoint(session, tenant_id=current_tenant(), endpoint_id=endpoint_id)
    return reply(_view(endpoint))


@blueprint.delete("/<endpoint_id>")
@blueprint.output(EmptySchema, status_code=204, description="Removed")
def remove(endpoint_id: str) -> Response:
    """Remove an address. What was booked for it before is still delivered."""
    with services().unit_of_work() as session:
        delete_endpoint(session, tenant_id=current_tenant(), endpoint_id=endpoint_id)
    return Response(status=204)


@blueprint.post("/<endpoint_id>/rotate-secret")
@blueprint.output(EndpointCreated)
def rotate(endpoint_id: str) -> Response:
    """Replace the signing secret; the new one is in this answer and in no other."""
    kit = services()
    with kit.unit_of_work() as session:
        endpoint, secret = rotate_secret(
            session, box=kit.box, tenant_id=current_tenant(), endpoint_id=endpoint_id
        )
    return reply({**_view(endpoint), "secret": secret})


@blueprint.post("/<endpoint_id>/test")
@blueprint.output(EventBooked, status_code=202)
def test(endpoint_id: str) -> Response:
    """Send a `test` event to this address; the delivery log shows what came of it."""
    with services().unit_of_work() as session:
        endpoint = get_endpoint(session, tenant_id=current_tenant(), endpoint_id=endpoint_id)
        event_id = record_test(session, endpoint=endpoint, at=utc_now())
    return reply({"event": event_id, "type": EventType.TEST.value}, 202)


def _view(endpoint: WebhookEndpoint) -> dict[str, Any]:
    return {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "url": endpoint.url,
        "events": endpoint.events,
        "enabled": endpoint.enabled,
        "created_at": moment(endpoint.created_at),
    }
