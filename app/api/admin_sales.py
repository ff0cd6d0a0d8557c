"""``/v1/admin``: sell packs and subscriptions, run the month end on demand."""

from typing import Any
from uuid import uuid4

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import admins_only, current_operator
from app.api.idempotency import HEADER, requested
from app.api.invoice_schemas import (
    MonthEnd,
    PurchaseObject,
    SubscriptionList,
    SubscriptionObject,
)
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.db import session_factory
from app.invoicing.months import close_due_months
from app.invoicing.renewals import renew_one, zone_of
from app.tenants.service import get_tenant
from billing.amounts import to_number
from billing.purchases import Purchase, buy_pack
from billing.subscriptions import Subscription, cancel, subscribe, subscriptions
from billing.windows import Period, window_of

blueprint = APIBlueprint("sales", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)


class PackRequest(BaseModel):
    """Which pack."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    pack: str = Field(min_length=1, max_length=64)


class SubscriptionRequest(BaseModel):
    """Which plan."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    plan: str = Field(min_length=1, max_length=64)


class MonthEndRequest(BaseModel):
    """Nothing to say: every month that is over is due."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


@blueprint.post("/tenants/<tenant_id>/packs")
@blueprint.input(PackRequest, arg_name="wanted")
@blueprint.output(PurchaseObject, status_code=201)
def sell_pack(tenant_id: str, wanted: PackRequest) -> Response:
    """Sell a pack; its tokens keep the price of the band that they reach."""
    key = _key()
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        made = buy_pack(
            session,
            tenant=tenant_id,
            pack=wanted.pack,
            idem_key=key,
            actor=current_operator(),
            now=utc_now(),
        )
    return reply(_purchase_view(made, tenant_id), 201)


@blueprint.get("/tenants/<tenant_id>/subscriptions")
@blueprint.output(SubscriptionList)
def list_subscriptions(tenant_id: str) -> Response:
    """List a tenant's subscriptions, canceled ones included."""
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        found = subscriptions(session, tenant=tenant_id)
    data = [_subscription_view(each) for each in found]
    return reply({"data": data, "next_cursor": None, "has_more": False})


@blueprint.post("/tenants/<tenant_id>/subscriptions")
@blueprint.input(SubscriptionRequest, arg_name="wanted")
@blueprint.output(SubscriptionObject, status_code=201)
def start_subscription(tenant_id: str, wanted: SubscriptionRequest) -> Response:
    """Put a tenant on a plan from today on; the first cycle is granted at once."""
    key, now = _key(), utc_now()
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        held = subscribe(
            session,
            tenant=tenant_id,
            plan=wanted.plan,
            today=window_of(Period.DAY, zone_of(session, tenant_id), now),
            idem_key=key,
            actor=current_operator(),
            now=now,
        )
        renew_one(session, held, now=now)
    return reply(_subscription_view(held), 201)


@blueprint.post("/tenants/<tenant_id>/subscriptions/<int:subscription_id>/cancel")
@blueprint.output(SubscriptionObject)
def end_subscription(tenant_id: str, subscription_id: int) -> Response:
    """Let no further cycle begin; what was granted stays until its end."""
    now = utc_now()
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        held = cancel(
            session,
            tenant=tenant_id,
            subscription_id=subscription_id,
            today=window_of(Period.DAY, zone_of(session, tenant_id), now),
            actor=current_operator(),
            now=now,
        )
    return reply(_subscription_view(held))


@blueprint.post("/month-end")
@blueprint.input(MonthEndRequest, arg_name="wanted")
@blueprint.output(MonthEnd)
def run_month_end(wanted: MonthEndRequest) -> Response:
    """Issue the invoices of every month that is over and has none; again does nothing more."""
    del wanted
    actor, now = current_operator(), utc_now()
    sessions = session_factory(services().database.engine)
    issued = close_due_months(sessions, actor=actor, now=now)
    data = [
        {"number": each.number, "tenant": each.tenant, "month": f"{each.month:%Y-%m}",
         "total": str(each.total)}
        for each in issued
    ]  # fmt: skip
    return reply({"issued": data})


def _key() -> str:
    """The caller's key, or one that nobody used."""
    requested(request.get_json())  # refuses a key that is none
    return request.headers.get(HEADER) or uuid4().hex


def _purchase_view(made: Purchase, tenant_id: str) -> dict[str, Any]:
    return {
        "id": str(made.id),
        "object": "purchase",
        "tenant": tenant_id,
        "kind": made.kind,
        "item": made.item,
        "tokens": to_number(made.tokens),
        "token_price": None if made.token_price is None else str(made.token_price),
        "amount": str(made.amount),
        "grant": None if made.grant is None else str(made.grant),
        "bought_at": moment(made.bought_at),
    }


def _subscription_view(held: Subscription) -> dict[str, Any]:
    return {
        "id": str(held.id),
        "object": "subscription",
        "tenant": held.tenant,
        "plan": held.plan,
        "started_on": str(held.started_on),
        "canceled_on": None if held.canceled_on is None else str(held.canceled_on),
    }
