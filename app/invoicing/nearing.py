"""Tier notices: tells a postpaid tenant that the next band is near, once a month and band.

Prepaid tenants hear nothing: what they pay for a token was locked when they bought it.
"""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from app.invoicing.months import month_bounds
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from billing.amounts import MICRO, MicroTokens, to_number
from billing.invoice_tables import tier_notice
from billing.invoices import on_credit
from billing.purchases import price_list_of
from billing.tiers import CURRENCY, Nearing, nearing
from billing.windows import Period, window_of

# Only whoever was charged lately can have come nearer.
_ACTIVE = text(
    """
    SELECT t.id, t.zone FROM tenant t JOIN billing.wallet w ON w.tenant = t.id
     WHERE w.mode = 'postpaid' AND EXISTS (
           SELECT FROM billing.charge c
            WHERE c.wallet = w.id AND c.settled_at > :since AND c.charged > 0)
     ORDER BY t.id
    """
)


def tell_near_tiers(sessions: sessionmaker[Session], *, since: datetime, now: datetime) -> int:
    """Look at the postpaid tenants that were charged since then; returns how many were told."""
    with sessions() as session:
        active = session.execute(_ACTIVE, {"since": since}).all()
    told = 0
    for row in active:
        with sessions.begin() as session:
            told += tell_near_tier(session, row.id, zone=row.zone, now=now)
    return told


def tell_near_tier(session: Session, tenant_id: str, *, zone: str, now: datetime) -> bool:
    """Book the notice of one tenant with its webhook, if one is due and was not told yet."""
    month = window_of(Period.MONTH, zone, now)
    start, end = month_bounds(month, zone)
    used = on_credit(session, tenant_id, start=start, end=end)
    found = nearing(price_list_of(session, tenant_id, now), used)
    if found is None or used == 0:
        return False
    fresh = session.execute(
        insert(tier_notice)
        .values(tenant=tenant_id, month=month, band=found.number, told_at=now)
        .on_conflict_do_nothing()
        .returning(tier_notice.c.band)
    ).one_or_none()
    if fresh is None:
        return False
    record_event(
        session,
        tenant_id=tenant_id,
        event=EventType.TIER_NEAR,
        data=tier_view(tenant_id, month, used, found),
        at=now.astimezone(UTC),
    )
    return True


def tier_view(tenant_id: str, month: date, used: MicroTokens, found: Nearing) -> dict[str, Any]:
    """The snapshot that is sent."""
    price = f"{float(found.price):.6f}".rstrip("0")
    tokens = f"{-(-found.remaining // MICRO):,}".replace(",", " ")
    return {
        "tenant": tenant_id,
        "month": f"{month:%Y-%m}",
        "used_tokens": to_number(used),
        "remaining_tokens": to_number(found.remaining),
        "next_price": float(found.price),
        "currency": CURRENCY,
        "message": f"{tokens} more tokens reach {price}",
    }
