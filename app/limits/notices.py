"""Events about limits: caps that fill up, caps that refuse, balances that run low.

Each is written down with its event in one transaction, once per crossing, whoever looks and however
often (``billing.notices``).
"""

from datetime import datetime

from sqlalchemy.orm import Session

from app.limits.caps import cap_view
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from billing import notices
from billing.amounts import to_number
from billing.caps import Cap


def tell_of_refusal(session: Session, *, tenant_id: str, cap: Cap, at: datetime) -> None:
    """A cap refused a job: its owner hears ``cap.reached`` once per window.

    Call it in a transaction of its own, after the refused one was rolled back.
    """
    if notices.note_reached(session, cap):
        _tell_of_cap(session, tenant_id=tenant_id, cap=cap, percent=notices.FULL, at=at)


def tell_of_crossings(session: Session, *, at: datetime) -> int:
    """Tell of every threshold that was crossed since the last look; returns how many."""
    crossed = notices.crossed_caps(session)
    for crossing in crossed:
        _tell_of_cap(
            session, tenant_id=crossing.tenant, cap=crossing.cap, percent=crossing.percent, at=at
        )
    low = notices.low_balances(session)
    for balance in low:
        record_event(
            session,
            tenant_id=balance.tenant,
            event=EventType.BALANCE_LOW,
            data={
                "available": to_number(balance.available),
                "threshold": to_number(balance.threshold),
            },
            at=at,
        )
    return len(crossed) + len(low)


def _tell_of_cap(session: Session, *, tenant_id: str, cap: Cap, percent: int, at: datetime) -> None:
    full = percent >= notices.FULL
    record_event(
        session,
        tenant_id=tenant_id,
        event=EventType.CAP_REACHED if full else EventType.CAP_NEAR,
        data={"percent": percent, "cap": cap_view(cap, names={})},
        at=at,
    )
