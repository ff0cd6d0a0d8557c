"""The event ``grant.issued``: told to those who listen, in the transaction that grants."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.webhooks.events import EventType
from app.webhooks.service import record_event
from billing.amounts import to_number

# Few tenants have an address; only their grants are looked at one by one.
_HEARD = text(
    """
    SELECT b.tenant, b.token_grant, b.kind, b.amount, b.expires_at, b.after
      FROM pg_temp.booked_grant b
     WHERE EXISTS (SELECT FROM webhook_endpoint e WHERE e.tenant_id = b.tenant AND e.enabled)
     ORDER BY b.tenant, b.seq
    """
)


def announce(session: Session, *, at: datetime) -> None:
    """Book an event for each grant that ``book_staged`` made in this transaction."""
    for grant in session.execute(_HEARD).all():
        record_event(
            session,
            tenant_id=grant.tenant,
            event=EventType.GRANT_ISSUED,
            data={
                "id": str(grant.token_grant),
                "object": "grant",
                "kind": grant.kind,
                "tokens": to_number(grant.amount),
                "expires_at": None if grant.expires_at is None else grant.expires_at.isoformat(),
                "balance": to_number(grant.after),
            },
            at=at,
        )
