"""``/v1/admin/approvals``: what waits for a second person, and deciding it."""

from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.addresses import allowed_addresses_only
from app.api.admin_schemas import ApprovalList, ApprovalObject
from app.api.audit_trail import note
from app.api.auth import admins_only, current_operator
from app.api.replies import ListQuery, moment, page, reply
from app.api.services import services, utc_now
from app.approvals import effects
from billing import approvals
from billing.approvals import Approval

blueprint = APIBlueprint("admin_approvals", __name__, url_prefix="/v1/admin/approvals", tag="Admin")
blueprint.before_request(admins_only)


class ApprovalListQuery(ListQuery):
    """Which approvals."""

    status: Literal["pending", "approved", "rejected", "expired"] | None = None
    kind: str | None = Field(None, max_length=64)


class RejectRequest(BaseModel):
    """Why not."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: str = Field("", max_length=500)


@blueprint.get("")
@blueprint.input(ApprovalListQuery, location="query", arg_name="wanted")
@blueprint.output(ApprovalList)
def index(wanted: ApprovalListQuery) -> Response:
    """List approvals, newest first."""
    with services().unit_of_work() as session:
        found = approvals.listed(
            session,
            state=wanted.status,
            kind=wanted.kind,
            limit=wanted.limit + 1,
            after=wanted.after,
        )
    return page(found, limit=wanted.limit, view=approval_view, cursor=lambda each: each.id)


@blueprint.get("/<approval_id>")
@blueprint.output(ApprovalObject)
def show(approval_id: str) -> Response:
    """Show one approval."""
    with services().unit_of_work() as session:
        found = approvals.get(session, approval_id)
    return reply(approval_view(found))


@blueprint.post("/<approval_id>/approve")
@blueprint.output(ApprovalObject)
def approve(approval_id: str) -> Response:
    """Agree as a second person; what was asked for happens at once, as a whole or not at all."""
    return reply(approval_view(approve_as_operator(approval_id)))


@blueprint.post("/<approval_id>/reject")
@blueprint.input(RejectRequest, arg_name="wanted")
@blueprint.output(ApprovalObject)
def reject(approval_id: str, wanted: RejectRequest) -> Response:
    """Say no, or take back what you proposed; nothing of it happens."""
    return reply(approval_view(reject_as_operator(approval_id, reason=wanted.reason)))


def approve_as_operator(approval_id: str) -> Approval:
    """Approve as the person behind the key of the request at hand, from an allowed address."""
    allowed_addresses_only()
    with services().unit_of_work() as session:
        decided = approvals.approve(
            session,
            approval_id=approval_id,
            checker=current_operator(),
            effects=effects(),
            now=utc_now(),
        )
        _log(session, "approval.approve", decided)
        return decided


def reject_as_operator(approval_id: str, *, reason: str) -> Approval:
    """Reject as the person behind the key of the request at hand."""
    with services().unit_of_work() as session:
        decided = approvals.reject(
            session,
            approval_id=approval_id,
            checker=current_operator(),
            reason=reason,
            now=utc_now(),
        )
        _log(session, "approval.reject", decided)
        return decided


def _log(session: Session, action: str, decided: Approval) -> None:
    detail = {
        "maker": decided.maker,
        "kind": decided.kind,
        "subject": decided.subject,
        "reason": decided.reason,
    }
    note(session, action=action, subject=decided.id, detail=detail)


def approval_view(approval: Approval) -> dict[str, Any]:
    """An approval as JSON."""
    return {
        "id": approval.id,
        "object": "approval",
        "kind": approval.kind,
        "subject": approval.subject,
        "status": approval.state.value,
        "payload": dict(approval.payload),
        "maker": approval.maker,
        "checker": approval.checker,
        "reason": approval.reason,
        "result": None if approval.result is None else dict(approval.result),
        "created_at": moment(approval.created_at),
        "expires_at": moment(approval.expires_at),
        "decided_at": moment(approval.decided_at),
    }
