"""``/v1/webhook-deliveries``: what was sent where, and sending it again."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response

from app.api.auth import current_tenant
from app.api.replies import ListQuery, moment, page, reply
from app.api.services import services
from app.api.webhook_schemas import DeliveryList, DeliveryObject
from app.errors import NotFoundError
from app.webhooks.log import LoggedDelivery, delivery_log, logged_delivery
from app.webhooks.service import replay

blueprint = APIBlueprint(
    "deliveries", __name__, url_prefix="/v1/webhook-deliveries", tag="Webhooks"
)


@blueprint.get("")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(DeliveryList)
def index(wanted: ListQuery) -> Response:
    """List the deliveries with their attempts, newest first."""
    with services().unit_of_work() as session:
        found = delivery_log(
            session, tenant_id=current_tenant(), limit=wanted.limit + 1, after=wanted.after
        )
    return page(found, limit=wanted.limit, view=_view, cursor=lambda each: each.delivery.id)


@blueprint.post("/<delivery_id>/replay")
@blueprint.output(DeliveryObject, status_code=202)
def send_again(delivery_id: str) -> Response:
    """Send a delivery once more, with the same `webhook-id` and body."""
    tenant_id = current_tenant()
    with services().unit_of_work() as session:
        if not replay(session, tenant_id=tenant_id, delivery_id=delivery_id):
            raise NotFoundError("There is no such delivery.", code="delivery_not_found")
        found = logged_delivery(session, tenant_id=tenant_id, delivery_id=delivery_id)
    return reply(_view(found), 202)


def _view(logged: LoggedDelivery) -> dict[str, Any]:
    delivery = logged.delivery
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "event": delivery.event_id,
        "type": logged.type,
        "job": logged.job_id,
        "endpoint": delivery.endpoint_id,
        "url": delivery.url,
        "status": delivery.status,
        "attempts": [
            {
                "number": attempt.number,
                "at": moment(attempt.at),
                "status_code": attempt.status_code,
                "error": attempt.error,
                "duration_ms": attempt.duration_ms,
                "response_excerpt": attempt.response_excerpt,
            }
            for attempt in logged.attempts
        ],
        "next_attempt_at": moment(delivery.next_attempt_at),
        "delivered_at": moment(delivery.delivered_at),
        "created_at": moment(delivery.created_at),
    }
