"""``/v1/admin``: refunds, revocations, payments of debt, and corrections for a second operator."""

from typing import Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from app.api.admin_approvals import approval_view
from app.api.admin_schemas import ApprovalObject
from app.api.audit_trail import note
from app.api.auth import admins_only, current_operator
from app.api.idempotency import requested
from app.api.ledger_schemas import EntryObject, RefundObject
from app.api.replies import reply
from app.api.services import services, utc_now
from app.corrections import KINDS, REBUILD, REVERSE, propose
from app.errors import FieldError, InvalidRequestError
from app.ids import new_id
from app.tenants.service import get_tenant
from billing import corrections, debts, refunds
from billing.amounts import MicroTokens, from_number, to_number

blueprint = APIBlueprint("admin_ledger", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)

Amount = int | float
ENTRY_DIGITS_MAX = 18


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RefundRequest(_Closed):
    """How much of a charge goes back."""

    tokens: Amount | None = Field(None, description="All that is left when left out.")
    reason: str = Field(min_length=1, max_length=500)


class RevokeRequest(_Closed):
    """How much of a grant is taken back."""

    tokens: Amount | None = Field(None, description="All that remains when left out.")
    reason: str = Field(min_length=1, max_length=500)


class PaymentRequest(_Closed):
    """A payment of what is owed."""

    tokens: Amount
    reference: str = Field(min_length=1, max_length=128, description="Of the payment; once each.")


class CorrectionRequest(_Closed):
    """A correction that a second operator decides."""

    kind: Literal["ledger.reverse", "ledger.rebuild", "ledger.void"]
    subject: str = Field(
        min_length=1, max_length=128, description="an entry's id, a tenant's, or a job's"
    )
    reason: str = Field(min_length=1, max_length=500)


@blueprint.post("/jobs/<job_id>/refund")
@blueprint.input(RefundRequest, arg_name="wanted")
@blueprint.output(RefundObject, status_code=201)
def refund(job_id: str, wanted: RefundRequest) -> Response:
    """Give back a job's charge or a part of it, to the grants it came from."""
    with services().unit_of_work() as session:
        made = refunds.give_back(
            session,
            job=job_id,
            amount=_amount(wanted.tokens),
            idem_key=_key(),
            reason=wanted.reason,
            actor=current_operator(),
            now=utc_now(),
        )
        if made.created:
            note(
                session,
                action="charge.refund",
                subject=job_id,
                detail=wanted.model_dump(mode="json"),
            )
    return reply(
        {
            "object": "refund",
            "job": job_id,
            "entry": str(made.journal),
            "tokens": to_number(made.amount),
            "refunded": to_number(made.refunded),
            "charged": to_number(made.charged),
        },
        201,
    )


@blueprint.post("/grants/<grant_id>/revoke")
@blueprint.input(RevokeRequest, arg_name="wanted")
@blueprint.output(EntryObject, status_code=201)
def revoke(grant_id: str, wanted: RevokeRequest) -> Response:
    """Take back what remains of a grant, or a part of it; what is held or spent stays."""
    with services().unit_of_work() as session:
        made = corrections.revoke(
            session,
            grant_id=int(grant_id) if _is_number(grant_id) else 0,
            amount=_amount(wanted.tokens),
            idem_key=_key(),
            actor=current_operator(),
            now=utc_now(),
        )
        if made.created:
            detail = wanted.model_dump(mode="json")
            note(session, action="grant.revoke", subject=grant_id, detail=detail)
    return _entry(made.journal, made.amount)


@blueprint.post("/tenants/<tenant_id>/payments")
@blueprint.input(PaymentRequest, arg_name="wanted")
@blueprint.output(EntryObject, status_code=201)
def pay(tenant_id: str, wanted: PaymentRequest) -> Response:
    """Book a payment of what a postpaid tenant owes, once for each reference."""
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        made = debts.repay(
            session,
            tenant=tenant_id,
            amount=from_number(wanted.tokens),
            idem_key=f"payment:{wanted.reference}",
            actor=current_operator(),
            now=utc_now(),
        )
        if made.created:
            detail = wanted.model_dump(mode="json")
            note(session, action="debt.pay", subject=tenant_id, detail=detail)
    return _entry(made.journal, made.amount)


@blueprint.post("/corrections")
@blueprint.input(CorrectionRequest, arg_name="wanted")
@blueprint.output(ApprovalObject, status_code=202)
def correct(wanted: CorrectionRequest) -> Response:
    """Propose a correction: reverse an entry, rebuild a tenant's balances, void a lost hold."""
    assert wanted.kind in KINDS  # noqa: S101 - the model says so
    if wanted.kind == REVERSE and not _is_number(wanted.subject):
        place = FieldError("/subject", "the number of an entry in the ledger")
        raise InvalidRequestError("The subject must be an entry's number.", errors=[place])
    with services().unit_of_work() as session:
        if wanted.kind == REBUILD:
            get_tenant(session, wanted.subject)
        asked = propose(
            session,
            kind=wanted.kind,
            subject=wanted.subject,
            reason=wanted.reason,
            maker=current_operator(),
            now=utc_now(),
        )
        note(
            session,
            action="correction.propose",
            subject=asked.id,
            detail=wanted.model_dump(mode="json"),
        )
    return reply(approval_view(asked), 202)


def _key() -> str:
    """The caller's key, else a fresh one: without a key every request is a new one."""
    sent = requested(request.get_json())
    return new_id("req") if sent is None else sent.key


def _amount(tokens: Amount | None) -> MicroTokens | None:
    return None if tokens is None else from_number(tokens)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= ENTRY_DIGITS_MAX


def _entry(journal: int, amount: MicroTokens) -> Response:
    document = {"object": "entry", "entry": str(journal), "tokens": to_number(amount)}
    return reply(document, 201)
