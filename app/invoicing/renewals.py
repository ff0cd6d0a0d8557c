"""Cycles of subscriptions: whatever is running and not booked yet, booked once."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from billing.purchases import Purchase
from billing.subscriptions import Subscription, due, renew, subscriptions

_ZONES = text("SELECT id, zone FROM tenant WHERE id = ANY(:tenants)")
_ZONE = text("SELECT zone FROM tenant WHERE id = :tenant_id")


def renew_due(sessions: sessionmaker[Session], *, now: datetime) -> int:
    """Book the cycles and fair uses that are due; returns how many. Safe at any time, twice too."""
    with sessions() as session:
        held = subscriptions(session)
        owners = {each.tenant for each in held}
        rows = session.execute(_ZONES, {"tenants": list(owners)})
        waiting = due(session, held, zones={row.id: row.zone for row in rows}, now=now)
    count = 0
    for each in waiting:
        with sessions.begin() as session:
            count += len(renew_one(session, each, now=now))
    return count


def renew_one(session: Session, held: Subscription, *, now: datetime) -> list[Purchase]:
    """What is due of one subscription, by the calendar of its tenant."""
    return renew(session, held, zone=zone_of(session, held.tenant), now=now)


def zone_of(session: Session, tenant_id: str) -> str:
    """Where a tenant counts its days."""
    return str(session.execute(_ZONE, {"tenant_id": tenant_id}).scalar_one())
