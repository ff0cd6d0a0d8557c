"""``/v1/batches``: many jobs at once, one price, one callback.

The transaction that creates a batch prices and keeps all of it and makes the jobs of the first
chunk; the others follow chunk by chunk, here or, after a crash, by the background step.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from apiflask import APIBlueprint, FileSchema
from flask import Response, request
from pydantic import Field
from sqlalchemy.orm import Session

from app.api.auth import bearer_key, current_principal, current_tenant, public, tenant_of
from app.api.batch_schemas import BatchItemList, BatchList, BatchObject, Kind
from app.api.files import ContentQuery
from app.api.idempotency import bind, earlier_resource, requested
from app.api.item_list import ItemListRequest, forecast_of, priced
from app.api.refusals import refusals_told
from app.api.replies import ListQuery, page, reply
from app.api.request_id import current_request_id
from app.api.services import Services, services, utc_now
from app.batches import opening, queries, retry, service
from app.batches.archive import stream_archive
from app.batches.service import Order
from app.batches.view import batch_view, item_view
from app.errors import FieldError, ForbiddenError, InvalidRequestError
from app.files.intake import Intake
from app.jobs.canceling import end_queued, tell_to_cancel
from app.jobs.service import sealed_webhook
from app.jobs.spec import BatchWebhook
from app.outbound import OutboundRefusedError, check_url
from billing.amounts import from_number

ITEMS_MAX = 10_000

blueprint = APIBlueprint("batches", __name__, url_prefix="/v1/batches", tag="Jobs")


class BatchRequest(ItemListRequest):
    """Jobs to run together: each item is a job body, completed by the defaults."""

    items: list[dict[str, Any]] = Field(min_length=1, max_length=ITEMS_MAX)
    webhook: BatchWebhook | None = Field(None, description="hears once, when everything has ended")


class ItemQuery(ListQuery):
    """Which items to list."""

    after: int | None = Field(None, ge=0, description="The next_cursor of the page before.")  # type: ignore[assignment] # an index
    status: Kind | None = None


@blueprint.post("")
@blueprint.input(BatchRequest, arg_name="wanted")
@blueprint.output(BatchObject, status_code=202)
def create(wanted: BatchRequest) -> Response:
    """Check, price and hold a whole list of jobs, then run them and tell once when all have ended.

    Nothing is held unless every item is right (or left out by `on_invalid: skip`), the total is
    within `max_tokens` and the balance covers it. At most 50 items may bring an address to fetch.
    """

    def made(intake: Intake) -> str:
        _check_webhook(wanted.webhook)
        good, bad = priced(services(), intake, wanted)
        order = Order(
            total=len(wanted.items),
            items=good,
            bad=bad,
            priced_for=len(good),
            max_tokens=None if wanted.max_tokens is None else from_number(wanted.max_tokens),
            webhook=sealed_webhook(wanted.webhook, services().box),
            request_id=current_request_id(),
        )
        return _kept(intake, order)

    return _created(request.get_json(), made)


@blueprint.post("/<batch_id>/retry")
@blueprint.output(BatchObject, status_code=202)
def again(batch_id: str) -> Response:
    """Make another batch of the items of a finished one that failed, expired or were refused.

    Items keep their index; prices are those of now with the discount of the first batch.
    """

    def made(intake: Intake) -> str:
        order = retry.retried(
            intake.session,
            catalog=services().catalog,
            intake=intake,
            caller=current_principal(),
            batch_id=batch_id,
            request_id=current_request_id(),
        )
        return _kept(intake, order)

    return _created({}, made)


def _created(document: dict[str, Any], make: Callable[[Intake], str]) -> Response:
    kit, tenant_id, key = services(), current_tenant(), requested(document)
    session = kit.database.session()
    with (
        refusals_told(),
        kit.desk.open(session, tenant_id=tenant_id, now=utc_now()) as intake,
        session.begin(),
    ):
        known = earlier_resource(session, owner=tenant_id, idempotency=key)
        batch_id = known or make(intake)
        if known is None:
            bind(session, owner=tenant_id, idempotency=key, resource_id=batch_id)
    _make_all(kit, batch_id)
    headers = {"Location": f"/v1/batches/{batch_id}"}
    if known is not None:
        headers["Idempotent-Replayed"] = "true"
    return _shown(batch_id, 202, headers)


def _kept(intake: Intake, order: Order) -> str:
    """Keep the batch and make its first jobs, all or nothing."""
    session = intake.session
    order = replace(order, forecast=forecast_of(services(), session, order.items))
    batch_id = service.create(
        session, box=services().box, intake=intake, caller=current_principal(), order=order
    )
    opening.make_jobs(session, batch_id=batch_id, strict=True)
    return batch_id


def _make_all(kit: Services, batch_id: str) -> None:
    """Make the jobs that still wait, a transaction for each chunk."""
    made = 1
    while made:
        kit.bell.ring()
        with kit.unit_of_work() as session:
            made = opening.make_jobs(session, batch_id=batch_id)
    if kit.balances.enabled:
        with kit.unit_of_work() as session:
            kit.balances.refresh(session, current_tenant())


def _check_webhook(webhook: BatchWebhook | None) -> None:
    """Say at once that an address may never be called, not hours later."""
    if webhook is None:
        return
    try:
        check_url(webhook.url, services().outbound)
    except OutboundRefusedError as error:
        place = FieldError("/webhook/url", error.detail, error.code)
        raise InvalidRequestError(error.detail, code=error.code, errors=[place]) from error


@blueprint.get("")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(BatchList)
def index(wanted: ListQuery) -> Response:
    """List batches, newest first."""
    kit, now = services(), utc_now()
    with kit.unit_of_work() as session:
        rows = queries.list_batches(
            session, tenant_id=current_tenant(), limit=wanted.limit + 1, after=wanted.after
        )
        tallies = queries.tallies(session, rows)
    return page(
        rows,
        limit=wanted.limit,
        view=lambda row: batch_view(row, tallies[row.id], links=kit.links, now=now),
        cursor=lambda row: row.id,
    )


@blueprint.get("/<batch_id>")
@blueprint.output(BatchObject)
def show(batch_id: str) -> Response:
    """Show a batch: where its items stand, what they cost so far, the results when it ended."""
    return _shown(batch_id)


@blueprint.get("/<batch_id>/items")
@blueprint.input(ItemQuery, location="query", arg_name="wanted")
@blueprint.output(BatchItemList)
def items(batch_id: str, wanted: ItemQuery) -> Response:
    """List items by index, each with its result or the reason why there is none."""
    kit, now = services(), utc_now()
    with kit.unit_of_work() as session:
        queries.get(session, tenant_id=current_tenant(), batch_id=batch_id)
        rows = queries.list_items(
            session,
            batch_id=batch_id,
            limit=wanted.limit + 1,
            after=wanted.after,
            kind=wanted.status,
        )
    return page(
        rows,
        limit=wanted.limit,
        view=lambda row: item_view(row, links=kit.links, now=now),
        cursor=lambda row: str(row["position"]),
    )


@blueprint.post("/<batch_id>/cancel")
@blueprint.output(BatchObject, status_code=202)
def cancel(batch_id: str) -> Response:
    """Stop a batch: nothing new starts, running jobs stop within a second, their work is charged.

    The callback still comes, once, with what was done until then.
    """
    kit, tenant_id = services(), current_tenant()
    with kit.unit_of_work() as session:
        service.request_cancel(session, tenant_id=tenant_id, batch_id=batch_id)
        tell_to_cancel(session, batch_id=batch_id)
    ended = 1
    while ended:
        with kit.unit_of_work() as session:
            ended = end_queued(session, batch_id=batch_id)
    return _shown(batch_id, 202)


@blueprint.get("/<batch_id>/outputs.zip")
@blueprint.input(ContentQuery, location="query", arg_name="link")
@blueprint.output(FileSchema(), content_type="application/zip")
@public
def outputs(batch_id: str, link: ContentQuery) -> Response:
    """Send what the batch has produced as a ZIP, to its owner or to the holder of a link.

    It is made while it is sent; members are named `INDEX-NAME`.
    """
    kit, now = services(), utc_now()
    owner = tenant_of(kit.principals.principal(bearer_key())) if link.sig is None else None
    with kit.unit_of_work() as session:
        if owner is None:
            _check_link(session, batch_id, link)
        else:
            queries.get(session, tenant_id=owner, batch_id=batch_id)
        found = queries.outputs(session, batch_id=batch_id, now=now)
    response = Response(stream_archive(kit.storage, found), content_type="application/zip")
    response.headers["Content-Disposition"] = f'attachment; filename="{batch_id}.zip"'
    return response


def _check_link(session: Session, batch_id: str, link: ContentQuery) -> None:
    batch = queries.find(session, batch_id=batch_id)
    if batch is None:
        detail = "The link does not open a batch. Read the batch again for a fresh link."
        raise ForbiddenError(detail, code="link_invalid")
    services().links.verify_archive(
        batch_id=batch_id,
        tenant_id=batch.tenant_id,
        expires=link.exp or 0,
        signature=link.sig or "",
        now=utc_now(),
    )


def _shown(batch_id: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    kit = services()
    with kit.unit_of_work() as session:
        batch = queries.get(session, tenant_id=current_tenant(), batch_id=batch_id)
        tally = queries.tallies(session, [batch])[batch_id]
    return reply(batch_view(batch, tally, links=kit.links, now=utc_now()), status, headers)
