"""What is due now and missing, for everybody: found, booked and announced in one transaction.

Run it at any time, twice at once included: the primary key of ``billing.rule_grant`` and the key
``quota:{rule}:{wallet}:{local_date}`` of the journal allow each grant once.
"""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.grants.announcement import announce
from billing import grant_rules
from billing.grant_batch import book_staged, open_stage
from billing.grant_rules import Rule
from billing.grant_schedule import Due, due

log = logging.getLogger(__name__)

BATCH: Final = 5000  # grants in one transaction: so long, and no longer, their wallets are locked

_ZONES = text("SELECT DISTINCT zone FROM tenant")
# Tenants are the app's, what was granted is billing's; both are only read here. A tenant is due for
# a date that began after it joined its group. LATERAL: one look into the primary key for each; as a
# NOT EXISTS it became a join that read all grants of the date for each tenant.
_MISSING: Final = text(
    """
    INSERT INTO pg_temp.staged_grant
    SELECT row_number() OVER (ORDER BY d.due_at, w.id), t.id, d.grant_kind, d.amount,
           'quota:' || d.rule || ':' || w.id || ':' || d.local_date, d.priority, d.due_at,
           d.expires_at
      FROM jsonb_to_recordset(CAST(:dues AS jsonb)) AS d(
               rule text, grant_kind text, amount bigint, priority integer, tenant_group text,
               tenants jsonb, measure text, at_least bigint, zone text, local_date date,
               due_at timestamptz, expires_at timestamptz, counts_from timestamptz)
      JOIN tenant t ON t.zone = d.zone
       AND (d.tenant_group IS NULL OR t.tenant_group = d.tenant_group)
       AND (d.tenants IS NULL OR d.tenants ? t.id)
       AND (t.group_since < d.due_at OR d.tenants IS NOT NULL)
      JOIN billing.wallet w ON w.tenant = t.id
      LEFT JOIN LATERAL (
           SELECT true AS is_granted FROM billing.rule_grant g
            WHERE g.rule = d.rule AND g.local_date = d.local_date AND g.wallet = w.id LIMIT 1
           ) done ON true
     WHERE done.is_granted IS NULL
       AND (d.measure IS NULL OR d.at_least <= (
           SELECT CASE d.measure WHEN 'jobs' THEN count(*)
                  ELSE coalesce(sum(jsonb_array_length(j.output -> 'files')), 0) END
             FROM job j
            WHERE j.tenant_id = t.id AND j.status = 'succeeded'
              AND j.finished_at >= d.counts_from AND j.finished_at < d.due_at))
     ORDER BY d.due_at, w.id LIMIT :limit
    """
)
_NOTE = text(
    """
    INSERT INTO billing.rule_grant (rule, local_date, wallet, token_grant)
    SELECT split_part(b.idem_key, ':', 2), CAST(split_part(b.idem_key, ':', 4) AS date), b.wallet,
           b.token_grant
      FROM pg_temp.booked_grant b
    """
)
_IS_STAGED = text("SELECT EXISTS (SELECT FROM pg_temp.staged_grant)")


def grant_due(session: Session, *, now: datetime, limit: int = BATCH) -> int:
    """Grant up to ``limit`` of what is due and missing; returns how many. Commit after it."""
    dues = [_row(*each) for each in all_due(session, now=now)]
    if not dues:
        return 0
    open_stage(session)
    session.execute(_MISSING, {"dues": json.dumps(dues), "limit": limit})
    if not session.scalar(_IS_STAGED):
        return 0
    booked = book_staged(session, actor="rules", now=now)
    session.execute(_NOTE)
    announce(session, at=now)
    return booked


def all_due(session: Session, *, now: datetime) -> Iterator[tuple[Rule, str, Due]]:
    """Every rule in every zone that somebody lives in, with the dates that are due."""
    rules = grant_rules.listed(session, enabled_only=True)
    zones = session.scalars(_ZONES).all() if rules else []
    for zone in zones:
        here = _zone(zone)
        if here is None:
            continue
        for rule in rules:
            for each in due(rule.timing, here, now=now):
                yield rule, zone, each


def _zone(name: str) -> ZoneInfo | None:
    """A zone that this machine does not know stops its own tenants' grants and nobody else's.

    They are made up for when the zone is known again within seven days.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        log.exception("no grants for tenants in the zone %r, which is not known here", name)
        return None


def _row(rule: Rule, zone: str, each: Due) -> dict[str, Any]:
    return {
        "rule": rule.id,
        "grant_kind": rule.grant_kind.value,
        "amount": rule.amount,
        "priority": rule.priority,
        "tenant_group": rule.group,
        "tenants": rule.tenants,
        "measure": rule.measure,
        "at_least": rule.at_least,
        "zone": zone,
        "local_date": each.local_date.isoformat(),
        "due_at": each.due_at.isoformat(),
        "expires_at": None if each.expires_at is None else each.expires_at.isoformat(),
        "counts_from": each.counts_from.isoformat(),
    }
