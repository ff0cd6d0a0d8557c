"""Changing a tenant: the part of the only writer that comes after its creation."""

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.tenants.models import Tenant
from app.tenants.service import check_tenant, get_tenant
from billing.amounts import from_number
from billing.audit import record
from billing.budgets import rezone_caps
from billing.cards import ANY_ENGINE, EVERYBODY, assign, unassign
from billing.debts import debt, set_terms


def change_tenant(
    session: Session,
    tenant_id: str,
    *,
    zone: str | None = None,
    group: str | None = None,
    mode: str | None = None,
    debt_limit: float | None = None,
    max_segments: int | None = None,
    consent_mode: str | None = None,
    actor: str,
    now: datetime,
) -> Tenant:
    """Change what is given; days and months are counted in the new zone from now on.

    With ``consent_mode`` contract, ``actor`` attests once that a contract covers the persons shown.

    ``debt_limit`` is in tokens: what a postpaid tenant may owe; it counts from the next hold on.

    ``max_segments`` bounds into how many parts a long video of theirs is cut, 1 to 64; 1: never.

    Rules of a new group grant from the next local date that begins.

    Raises:
        NotFoundError: code ``tenant_not_found``.
        InvalidRequestError: ``unknown_zone``, or a group or mode that cannot be.
        BillingError: a debt limit that cannot be, or below what is owed already.
    """
    tenant = get_tenant(session, tenant_id)
    wanted = {
        "zone": zone or tenant.zone,
        "group": group or tenant.group,
        "mode": mode or tenant.mode,
        "consent_mode": consent_mode or tenant.consent_mode,
    }
    check_tenant(name=tenant.name, **wanted)
    wanted_segments = tenant.max_segments if max_segments is None else max_segments
    is_attested = wanted["consent_mode"] != tenant.consent_mode
    joined = {"group_since": now} if wanted["group"] != tenant.group else {}
    changed = {**wanted, **joined, "max_segments": wanted_segments}
    session.execute(update(Tenant).where(Tenant.id == tenant_id).values(**changed))
    rezone_caps(session, tenant=tenant_id, zone=wanted["zone"])
    if mode is not None or debt_limit is not None:
        limit = debt(session, tenant_id).limit if debt_limit is None else from_number(debt_limit)
        set_terms(session, tenant=tenant_id, mode=wanted["mode"], limit=limit, now=now)
    if is_attested:
        attest(session, tenant_id, consent_mode=wanted["consent_mode"], actor=actor, now=now)
    detail = {**wanted, "debt_limit": debt_limit, "max_segments": wanted_segments}
    record(session, actor=actor, action="tenant.change", subject=tenant_id, detail=detail, now=now)
    session.refresh(tenant)
    return tenant


def attest(
    session: Session, tenant_id: str, *, consent_mode: str, actor: str, now: datetime
) -> None:
    """Record who says since when that a contract covers the persons shown, or no longer does."""
    record(
        session,
        actor=actor,
        action=f"consent.{consent_mode}",
        subject=tenant_id,
        detail={"consent_mode": consent_mode},
        now=now,
    )


def choose_card(
    session: Session,
    tenant_id: str,
    *,
    card: str | None,
    engine: str = ANY_ENGINE,
    actor: str,
    now: datetime,
) -> None:
    """Put a tenant (or ``EVERYBODY``) on a card; None is everybody's card again.

    Raises:
        NotFoundError: code ``tenant_not_found``.
        InvalidCardError: no such card is published, or it does not price the engine.
    """
    if tenant_id != EVERYBODY:
        get_tenant(session, tenant_id)
    if card is None:
        unassign(session, tenant=tenant_id, engine=engine)
    else:
        assign(session, tenant=tenant_id, engine=engine, card=card)
    detail = {"card": card, "engine": engine}
    record(session, actor=actor, action="tenant.card", subject=tenant_id, detail=detail, now=now)
