"""Caps: how much may be spent in a day or a month, by a tenant, a project, a key or an end user.

They are enforced in ``place_hold``, under the wallet's lock: used + reserved never exceeds the
limit. A cap counts from the start of its window, also what was spent before it was set. Operators
and tenants set caps beside each other and all of them bind, so a tenant can only tighten.
"""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens
from billing.caps import Cap, Scope, SetBy
from billing.windows import Period

_SET = text(
    """
    INSERT INTO billing.budget (wallet, set_by, scope, subject, period, zone, amount, created_at)
    VALUES (:wallet, :set_by, :scope, :subject, :period, :zone, :amount,
            coalesce(:now, clock_timestamp()))
    ON CONFLICT (wallet, scope, subject, period, set_by) WHERE ended_at IS NULL
    DO UPDATE SET amount = excluded.amount
    RETURNING id, (xmax = 0) AS created, created_at
    """
)
# What the window saw before the cap was there: charges are carried over, open holds are pinned.
_COUNT = text(
    """
    WITH earlier AS (
        SELECT h.id, h.state, h.amount, h.captured, s.subject,
               billing.window_of(b.period, b.zone, b.created_at) AS window_start
          FROM billing.budget b
          JOIN billing.hold h ON h.wallet = b.wallet, LATERAL (
               SELECT CASE b.scope WHEN 'tenant' THEN '' WHEN 'project' THEN h.project
                                   WHEN 'key' THEN h.api_key ELSE h.end_user END AS subject) s
         WHERE b.id = :budget
           -- the index knows instants only, and no zone is more than a day from UTC
           AND h.placed_at > CAST(billing.window_of(b.period, 'UTC', b.created_at)
                                  - (CASE b.period WHEN 'day' THEN 1 ELSE 31 END) AS timestamp)
                             AT TIME ZONE 'UTC' - interval '1 day'
           AND billing.window_of(b.period, b.zone, h.placed_at)
               = billing.window_of(b.period, b.zone, b.created_at)
           AND b.subject IN (s.subject, '*') AND s.subject IS NOT NULL
    ), pinned AS (
        INSERT INTO billing.hold_budget (hold, budget, subject, window_start)
        SELECT id, :budget, subject, window_start FROM earlier WHERE state = 'open'
    ), marked AS (
        UPDATE billing.hold SET capped = true
         WHERE id IN (SELECT id FROM earlier WHERE state = 'open') AND NOT capped
    )
    INSERT INTO billing.budget_usage (budget, subject, window_start, reserved, used, carried)
    SELECT :budget, subject, window_start,
           coalesce(sum(amount) FILTER (WHERE state = 'open'), 0), sum(captured), sum(captured)
      FROM earlier GROUP BY subject, window_start
    """
)
_CAPS = text(
    """
    SELECT b.id, b.set_by, b.scope, b.subject, b.period, b.zone, b.amount AS limit, w.window,
           coalesce(u.used, 0) AS used, coalesce(u.reserved, 0) AS reserved,
           CASE b.subject WHEN '*' THEN u.subject END AS fullest
      FROM billing.budget b
      CROSS JOIN LATERAL (
           SELECT billing.window_of(b.period, b.zone, coalesce(:now, clock_timestamp())) AS window
      ) w
      LEFT JOIN LATERAL (
           SELECT x.subject, x.used, x.reserved FROM billing.budget_usage x
            WHERE x.budget = b.id AND x.window_start = w.window
            ORDER BY x.used + x.reserved DESC, x.subject LIMIT 1) u ON true
     WHERE b.wallet = (SELECT id FROM billing.wallet WHERE tenant = :tenant)
       AND b.ended_at IS NULL
     ORDER BY b.id
    """
)
_REZONE = text("UPDATE billing.budget SET zone = :zone WHERE wallet = :wallet AND ended_at IS NULL")
_END = text(
    """
    UPDATE billing.budget SET ended_at = clock_timestamp()
     WHERE id = :id AND wallet = :wallet AND set_by = :set_by AND ended_at IS NULL RETURNING id
    """
)


def set_cap(
    session: Session,
    *,
    tenant: str,
    set_by: SetBy,
    scope: Scope,
    subject: str = "",
    period: Period,
    zone: str,
    limit: MicroTokens,
    now: datetime | None = None,
) -> tuple[Cap, bool]:
    """Set a cap, or change the limit of the one that stands; returns it and whether it is new.

    A limit below what is used already refuses what comes next and takes nothing back.

    Raises:
        UnknownWalletError: the tenant has no wallet.
    """
    wallet = ledger.locked_wallet(session, tenant)
    row = session.execute(
        _SET,
        {
            "wallet": wallet,
            "set_by": set_by.value,
            "scope": scope.value,
            "subject": subject,
            "period": period.value,
            "zone": zone,
            "amount": limit,
            "now": now,
        },
    ).one()
    if row.created:
        session.execute(_COUNT, {"budget": row.id})
    found = {cap.id: cap for cap in caps(session, tenant, now=now)}
    return found[row.id], row.created


def end_cap(session: Session, *, tenant: str, cap_id: int, set_by: SetBy) -> bool:
    """Take a cap away; False when there is no such cap of this tenant by this setter."""
    wallet = ledger.locked_wallet(session, tenant)
    values = {"id": cap_id, "wallet": wallet, "set_by": set_by.value}
    return session.execute(_END, values).one_or_none() is not None


def rezone_caps(session: Session, *, tenant: str, zone: str) -> None:
    """Count the tenant's windows in another zone from now on; a date that has begun goes on."""
    wallet = ledger.locked_wallet(session, tenant)
    session.execute(_REZONE, {"wallet": wallet, "zone": zone})


def caps(session: Session, tenant: str, *, now: datetime | None = None) -> list[Cap]:
    """The caps in force with their present windows, oldest first."""
    rows = session.execute(_CAPS, {"tenant": tenant, "now": now}).mappings()
    return [Cap.read(dict(row)) for row in rows]
