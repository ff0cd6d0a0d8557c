"""``/v1/admin/recharges``: tokens for many, their log, and the second person's decision."""

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.addresses import allowed_addresses_only
from app.api.admin_approvals import RejectRequest, approve_as_operator, reject_as_operator
from app.api.audit_trail import note
from app.api.auth import admins_only, current_operator, current_principal
from app.api.idempotency import bind, earlier_resource, requested
from app.api.openapi import Answers, described_body
from app.api.parts import is_multipart, one_file, one_text, only_parts
from app.api.recharge_schemas import RechargeList, RechargeLog, RechargeObject
from app.api.recharge_views import (
    log_csv,
    log_line_view,
    preview_view,
    recharge_view,
    summary_view,
)
from app.api.replies import ListQuery, page, reply
from app.api.services import services, utc_now
from app.api.validation import validated
from app.errors import ConflictError
from app.jobs.idempotency import Idempotency
from app.recharges import service
from app.recharges.csv_file import read_lines
from app.recharges.order import Order, WantedLine, positive_amount
from app.recharges.service import RechargeLimits
from billing import recharges
from billing.amounts import from_number, to_number
from billing.recharges import Recharge, RechargeMode

USERS_MAX = 20_000
WAITING: Answers = {
    202: {
        "description": "Waits for a second operator",
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/RechargeObject"}}
        },
    }
}
AS_CSV: Answers = {200: {"description": "The log", "content": {"text/csv": {}}}}
FORM_FIELDS = ("operator", "reason", "mode", "dry_run", "repeat")

blueprint = APIBlueprint("admin_recharges", __name__, url_prefix="/v1/admin/recharges", tag="Admin")
blueprint.before_request(admins_only)
blueprint.before_request(allowed_addresses_only)


class _Words(BaseModel):
    """What JSON and form have in common."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    operator: str = Field(min_length=1, max_length=128, description="a label for the log")
    reason: str = Field(min_length=1, max_length=500)
    mode: Literal["atomic", "partial"] = "partial"


class BulkRechargeRequest(_Words):
    """The same amount for many users."""

    users: list[str] = Field(min_length=1, max_length=USERS_MAX, description="names or ids")
    amount: int | float = Field(description="tokens for each")
    expires_at: AwareDatetime | None = Field(None, strict=False)
    dry_run: bool = False


class RechargeForm(_Words):
    """The words beside a CSV file."""

    dry_run: Literal["true", "false"] = "false"
    repeat: Literal["true", "false"] = Field("false", description="book a known file once more")


class LogQuery(BaseModel):
    """Which part of the log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=1000, description="Rows on one page.")
    after: int = Field(0, ge=0, le=2**31 - 1, description="The next_cursor of the page before.")


@blueprint.post("/bulk")
@blueprint.output(RechargeObject, status_code=200)
@blueprint.doc(
    responses=WAITING,
    extensions=described_body(
        json_schema=BulkRechargeRequest.model_json_schema(),
        parts={
            "file": {"type": "string", "format": "binary"},
            **RechargeForm.model_json_schema()["properties"],
        },
        required=["file", "operator", "reason"],
    ),
)
def bulk() -> Response:
    """Give tokens to many users: one amount for a JSON list, or `user,amount[,expires_at]` as CSV.

    Mode `partial` books the good rows and names the others in `failed_users`; `atomic` books all or
    nothing. Large totals wait for a second operator (202, `pending_approval`).
    """
    if is_multipart():
        order, key, form = _from_file()
        return _placed(order, key, is_dry=form.dry_run == "true", repeat=form.repeat == "true")
    document = request.get_json()
    wanted = validated(BulkRechargeRequest, document)
    return _placed(_from_json(wanted), requested(document), is_dry=wanted.dry_run, repeat=True)


def _from_json(wanted: BulkRechargeRequest) -> Order:
    amount = positive_amount(wanted.amount)
    return Order(
        source="json",
        mode=RechargeMode(wanted.mode),
        operator=wanted.operator,
        reason=wanted.reason,
        content_sha256=hashlib.sha256(wanted.model_dump_json().encode()).hexdigest(),
        lines=[
            WantedLine(row=row, named=user, amount=amount, expires_at=wanted.expires_at)
            for row, user in enumerate(wanted.users, start=1)
        ],
    )


def _from_file() -> tuple[Order, Idempotency | None, RechargeForm]:
    only_parts(files=("file",), fields=FORM_FIELDS)
    part = one_file("file")
    texts = {name: one_text(name) for name in FORM_FIELDS}
    words = {name: text.decode() for name, text in texts.items() if text is not None}
    form = validated(RechargeForm, words)
    key = requested(words, parts=[part])
    content = part.stream.read()
    order = Order(
        source="csv",
        mode=RechargeMode(form.mode),
        operator=form.operator,
        reason=form.reason,
        content_sha256=hashlib.sha256(content).hexdigest(),
        lines=read_lines(content),
    )
    return order, key, form


def _placed(order: Order, key: Idempotency | None, *, is_dry: bool, repeat: bool) -> Response:
    now, maker, owner = utc_now(), current_operator(), current_principal().key_id
    limits = _limits()
    with services().unit_of_work() as session:
        if is_dry:
            found = service.preview(session, order, maker=maker, limits=limits, now=now)
            return reply(preview_view(order, found, maker=maker))
        service.take_turn(session, maker=maker)
        earlier = earlier_resource(session, owner=owner, idempotency=key)
        known = recharges.get(session, earlier) if earlier is not None else None
        if known is None and not repeat:
            known = service.known_file(session, order)
            if known is not None and key is not None:
                raise service.already_sent(known.id)
        placed = known
        if placed is None:
            placed = service.place(session, order, maker=maker, actor=owner, limits=limits, now=now)
            _log(session, placed)
            bind(session, owner=owner, idempotency=key, resource_id=placed.id)
        document = recharge_view(session, placed)
    headers: Mapping[str, str] = {} if known is None else {"Idempotent-Replayed": "true"}
    return reply(document, 202 if placed.status == "pending_approval" else 200, headers)


def _log(session: Session, placed: Recharge) -> None:
    detail = {
        "status": placed.status.value,
        "operator": placed.operator,
        "reason": placed.reason,
        "tokens": to_number(placed.tokens),
        "users": placed.rows,
        "failed": placed.failed,
        "sha256": placed.content_sha256,
    }
    note(session, action="recharge.bulk", subject=placed.id, detail=detail)


def _limits() -> RechargeLimits:
    settings = services().settings
    return RechargeLimits(
        alone=from_number(settings.recharge_alone_tokens),
        alone_daily=from_number(settings.recharge_alone_daily_tokens),
        per_minute=settings.recharge_per_minute,
    )


@blueprint.get("")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(RechargeList)
def index(wanted: ListQuery) -> Response:
    """List recharges, newest first."""
    with services().unit_of_work() as session:
        found = recharges.listed(session, limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=summary_view, cursor=lambda each: each.id)


@blueprint.get("/<recharge_id>")
@blueprint.output(RechargeObject)
def show(recharge_id: str) -> Response:
    """Show one recharge with its failed users."""
    return reply(_shown(recharge_id))


@blueprint.get("/<recharge_id>/log")
@blueprint.input(LogQuery, location="query", arg_name="wanted")
@blueprint.output(RechargeLog)
def log(recharge_id: str, wanted: LogQuery) -> Response:
    """List the rows of a recharge with the balance before and after each."""
    with services().unit_of_work() as session:
        found = recharges.get(session, recharge_id)
        lines = recharges.lines(session, recharge_id, limit=wanted.limit + 1, after=wanted.after)
    return page(
        lines,
        limit=wanted.limit,
        view=lambda line: log_line_view(found, line),
        cursor=lambda line: str(line.row),
    )


@blueprint.get("/<recharge_id>/log.csv")
@blueprint.doc(responses=AS_CSV)
def log_file(recharge_id: str) -> Response:
    """Download the log as CSV; no cell of it is a formula."""
    with services().unit_of_work() as session:
        found = recharges.get(session, recharge_id)
        content = log_csv(found, recharges.lines(session, recharge_id))
    headers = {"Content-Disposition": f'attachment; filename="{found.id}.csv"'}
    return Response(content, headers=headers, content_type="text/csv; charset=utf-8")


@blueprint.post("/<recharge_id>/approve")
@blueprint.output(RechargeObject)
def approve(recharge_id: str) -> Response:
    """Agree as a second operator; it is booked at once."""
    approve_as_operator(_approval_of(recharge_id))
    return reply(_shown(recharge_id))


@blueprint.post("/<recharge_id>/reject")
@blueprint.input(RejectRequest, arg_name="wanted")
@blueprint.output(RechargeObject)
def reject(recharge_id: str, wanted: RejectRequest) -> Response:
    """Say no, or take back what you asked for; nothing is booked."""
    reject_as_operator(_approval_of(recharge_id), reason=wanted.reason)
    return reply(_shown(recharge_id))


def _shown(recharge_id: str) -> dict[str, Any]:
    with services().unit_of_work() as session:
        return recharge_view(session, recharges.get(session, recharge_id))


def _approval_of(recharge_id: str) -> str:
    with services().unit_of_work() as session:
        found: Recharge = recharges.get(session, recharge_id)
    if found.approval is None:
        detail = f"The recharge {recharge_id} was small enough to be booked at once."
        raise ConflictError(detail, code="approval_not_needed")
    return found.approval
