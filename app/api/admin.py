"""``/v1/admin``: tenants, their keys, the queues. Admin keys only."""

from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.admin_schemas import KeyCreated, QueuesObject, TenantObject
from app.api.audit_trail import note
from app.api.auth import admins_only, current_operator, current_principal
from app.api.idempotency import bind, earlier_resource, requested
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.balance_cache import balance_view
from app.errors import ConflictError
from app.jobs.queries import queue_depths, running_count
from app.tenants.changes import attest, change_tenant
from app.tenants.models import Tenant
from app.tenants.service import create_key, create_tenant, get_tenant
from billing.amounts import from_number
from billing.grants import issue
from billing.wallets import balance

blueprint = APIBlueprint("admin", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TenantRequest(_Closed):
    """A new customer."""

    name: str = Field(min_length=1, max_length=128)
    group: Literal["free", "vip", "enterprise"] = "free"
    zone: str = Field("UTC", max_length=64, description="IANA time zone")
    mode: Literal["prepaid", "postpaid"] = "prepaid"
    consent_mode: Literal["request", "contract"] = "request"
    tokens: int | float | None = Field(None, gt=0, description="A first grant.")


class TenantChange(_Closed):
    """What changes of a customer; what is left out stays."""

    group: Literal["free", "vip", "enterprise"] | None = None
    zone: str | None = Field(None, min_length=1, max_length=64, description="IANA time zone")
    mode: Literal["prepaid", "postpaid"] | None = None
    debt_limit: int | float | None = Field(
        None, ge=0, description="tokens a postpaid tenant may owe"
    )
    max_segments: int | None = Field(
        None, ge=1, le=64, description="parts that a long video may be cut into; 1: never cut"
    )
    consent_mode: Literal["request", "contract"] | None = Field(
        None, description="contract: you attest once that the persons shown agreed"
    )


class KeyRequest(_Closed):
    """A new API key of a tenant."""

    name: str = Field("", max_length=128)
    project: str | None = Field(None, min_length=1, max_length=128)
    expires_at: AwareDatetime | None = Field(None, strict=False)


@blueprint.post("/tenants")
@blueprint.input(TenantRequest, arg_name="wanted")
@blueprint.output(TenantObject, status_code=201)
def add_tenant(wanted: TenantRequest) -> Response:
    """Create a tenant with its wallet, and with tokens when `tokens` is given."""
    kit, actor = services(), current_principal().key_id
    key = requested(request.get_json())
    with kit.unit_of_work() as session:
        known = earlier_resource(session, owner=actor, idempotency=key)
        if known is not None:
            tenant = get_tenant(session, known)
        else:
            tenant = _create(session, wanted, actor=actor)
            bind(session, owner=actor, idempotency=key, resource_id=tenant.id)
        document = _tenant_view(session, tenant)
    return reply(document, 201)


def _create(session: Session, wanted: TenantRequest, *, actor: str) -> Tenant:
    tenant = create_tenant(
        session,
        name=wanted.name,
        box=services().box,
        group=wanted.group,
        zone=wanted.zone,
        mode=wanted.mode,
        consent_mode=wanted.consent_mode,
    )
    note(
        session,
        action="tenant.create",
        subject=tenant.id,
        detail=wanted.model_dump(mode="json"),
    )
    if wanted.consent_mode == "contract":
        attest(
            session,
            tenant.id,
            consent_mode=wanted.consent_mode,
            actor=current_operator(),
            now=utc_now(),
        )
    if wanted.tokens is not None:
        issue(
            session,
            tenant=tenant.id,
            amount=from_number(wanted.tokens),
            kind="grant",
            idem_key=f"tenant:{tenant.id}:first",
            actor=actor,
            now=utc_now(),
        )
    return tenant


@blueprint.patch("/tenants/<tenant_id>")
@blueprint.input(TenantChange, arg_name="wanted")
@blueprint.output(TenantObject)
def edit_tenant(tenant_id: str, wanted: TenantChange) -> Response:
    """Change a tenant's zone, group or billing mode."""
    with services().unit_of_work() as session:
        tenant = change_tenant(
            session,
            tenant_id,
            zone=wanted.zone,
            group=wanted.group,
            mode=wanted.mode,
            debt_limit=wanted.debt_limit,
            max_segments=wanted.max_segments,
            consent_mode=wanted.consent_mode,
            actor=current_operator(),
            now=utc_now(),
        )
        document = _tenant_view(session, tenant)
    return reply(document)


@blueprint.post("/tenants/<tenant_id>/keys")
@blueprint.input(KeyRequest, arg_name="wanted")
@blueprint.output(KeyCreated, status_code=201)
def add_key(tenant_id: str, wanted: KeyRequest) -> Response:
    """Create an API key of a tenant. Its text is in this answer and in no other."""
    owner = current_principal().key_id
    key = requested(request.get_json())
    with services().unit_of_work() as session:
        known = earlier_resource(session, owner=owner, idempotency=key)
        if known is not None:
            detail = (
                f"The key {known} was made by an earlier request and cannot be shown again. "
                "Create another with a new Idempotency-Key."
            )
            raise ConflictError(detail, code="key_already_shown")
        made = create_key(
            session,
            tenant_id=tenant_id,
            project=wanted.project,
            name=wanted.name,
            expires_at=wanted.expires_at,
        )
        note(
            session,
            action="key.create",
            subject=made.id,
            detail={"tenant": tenant_id, **wanted.model_dump(mode="json")},
        )
        bind(session, owner=owner, idempotency=key, resource_id=made.id)
    document = {
        "id": made.id,
        "object": "api_key",
        "key": made.minted.key,
        "tenant": tenant_id,
        "project": wanted.project,
        "name": wanted.name,
        "expires_at": moment(wanted.expires_at),
    }
    return reply(document, 201)


@blueprint.get("/queues")
@blueprint.output(QueuesObject)
def queues() -> Response:
    """Show how many jobs wait, by engine and priority, and how many run."""
    with services().unit_of_work() as session:
        depths, running = queue_depths(session), running_count(session)
    queued = [
        {
            "engine": depth.engine,
            "priority": depth.priority,
            "jobs": depth.jobs,
            "oldest_s": round(depth.oldest_s, 3),
        }
        for depth in depths
    ]
    return reply({"queued": queued, "running": running})


def _tenant_view(session: Session, tenant: Tenant) -> dict[str, Any]:
    session.refresh(tenant)
    return {
        "id": tenant.id,
        "object": "tenant",
        "name": tenant.name,
        "group": tenant.group,
        "zone": tenant.zone,
        "mode": tenant.mode,
        "consent_mode": tenant.consent_mode,
        "balance": balance_view(balance(session, tenant.id)),
        "created_at": moment(tenant.created_at),
    }
