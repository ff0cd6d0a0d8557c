"""Look for what rules call odd; write it down, tell the owner, and freeze where a rule says so.

One transaction, which only one looker has at a time; looking again finds nothing new. A finding of
a spike is one per hour, a finding of a repetition one per length of its rule.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session
from ulid import ULID

from app.anomalies.models import AnomalyFinding, AnomalyRule
from app.anomalies.rules import rules_in_force
from app.ids import new_id
from app.limits.freezing import freeze_tenant
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from billing.amounts import MICRO

HOUR: Final = timedelta(hours=1)
PATTERN: Final = timedelta(days=14)
TIMESTAMP_CHARACTERS: Final = 10  # of a ULID; the other 16 are random

_TURN = text("SELECT pg_advisory_xact_lock(hashtext('pixelmeter anomalies'))")

# Only who spent enough in the hour is compared with its own hours of the days before.
_SPIKES = text(
    """
    WITH busy AS (
        SELECT l.wallet, s.kind, s.subject, sum(l.charged) AS tokens
          FROM billing.usage_line l
         CROSS JOIN LATERAL (VALUES ('key', l.api_key), ('end_user', l.end_user))
               AS s (kind, subject)
         WHERE l.settled_at >= :hour AND l.settled_at < :hour + interval '1 hour'
           AND s.subject IS NOT NULL
         GROUP BY l.wallet, s.kind, s.subject HAVING sum(l.charged) >= :min_tokens
    )
    SELECT w.tenant AS tenant_id, b.kind AS subject_kind, b.subject,
           b.tokens AS observed, usual.tokens AS expected
      FROM busy b
      JOIN billing.wallet w ON w.id = b.wallet
      JOIN LATERAL (
           SELECT avg(h.tokens) AS tokens, count(*) AS hours FROM (
               SELECT sum(l.charged) AS tokens FROM billing.usage_line l
                WHERE l.wallet = b.wallet AND l.settled_at >= :hour - CAST(:pattern AS interval)
                  AND l.settled_at < :hour
                  AND CASE b.kind WHEN 'key' THEN l.api_key ELSE l.end_user END = b.subject
                GROUP BY date_trunc('hour', l.settled_at)) h
           ) usual ON usual.hours >= :min_hours
     WHERE b.tokens > usual.tokens * :factor
       AND (CAST(:tenant_id AS text) IS NULL OR w.tenant = :tenant_id)
    """
)
# Ids sort by time, so the jobs of the last minutes are the end of the primary key.
_REPEATS = text(
    """
    SELECT j.tenant_id, 'content' AS subject_kind, f.sha256 AS subject,
           count(DISTINCT j.id) AS observed
      FROM job j
     CROSS JOIN LATERAL (
           SELECT j.inputs ->> 'target' AS file_id
            UNION SELECT jsonb_array_elements_text(j.inputs -> 'source')) i
      JOIN file f ON f.id = i.file_id
     WHERE j.id >= :first_id AND (CAST(:tenant_id AS text) IS NULL OR j.tenant_id = :tenant_id)
       AND NOT EXISTS (
           SELECT FROM anomaly_finding k
            WHERE k.rule_id = :rule_id AND k.tenant_id = j.tenant_id
              AND k.subject_kind = 'content' AND k.subject = f.sha256
              AND k.found_at > :since)
     GROUP BY j.tenant_id, f.sha256 HAVING count(DISTINCT j.id) > :max_times
    """
)
_KNOWN = text(
    """
    SELECT EXISTS (
        SELECT FROM anomaly_finding
         WHERE rule_id = :rule_id AND tenant_id = :tenant_id AND subject_kind = :subject_kind
           AND subject = :subject AND since = :since)
    """
)


@dataclass(frozen=True, slots=True)
class _Oddity:
    tenant_id: str
    subject_kind: str
    subject: str
    observed: float
    expected: float
    since: datetime


def look(session: Session, *, now: datetime) -> list[AnomalyFinding]:
    """Apply every rule in force once; returns what is new. The caller commits."""
    session.execute(_TURN)
    return [
        _write(session, rule, odd, now=now)
        for rule in rules_in_force(session)
        for odd in _odd(session, rule, now=now)
        if not _is_known(session, rule, odd)
    ]


def _odd(session: Session, rule: AnomalyRule, *, now: datetime) -> list[_Oddity]:
    if rule.kind == "repeat":
        return _repeats(session, rule, now=now)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    # The hour before may have ended with what nobody has looked at.
    return [
        odd for hour in (this_hour - HOUR, this_hour) for odd in _spikes(session, rule, hour=hour)
    ]


def _spikes(session: Session, rule: AnomalyRule, *, hour: datetime) -> list[_Oddity]:
    values = {
        "hour": hour,
        "pattern": PATTERN,
        "min_tokens": rule.min_tokens,
        "min_hours": rule.min_hours,
        "factor": rule.factor,
        "tenant_id": rule.tenant_id,
    }
    rows = session.execute(_SPIKES, values).mappings()
    return [_oddity(row, expected=row["expected"], unit=MICRO, since=hour) for row in rows]


def _repeats(session: Session, rule: AnomalyRule, *, now: datetime) -> list[_Oddity]:
    assert rule.minutes is not None  # noqa: S101 - a CHECK of the table
    assert rule.max_times is not None  # noqa: S101 - a CHECK of the table
    since = now - timedelta(minutes=rule.minutes)
    earliest = str(ULID.from_datetime(since))[:TIMESTAMP_CHARACTERS]
    values = {
        "first_id": f"job_{earliest}",
        "since": since,
        "max_times": rule.max_times,
        "tenant_id": rule.tenant_id,
        "rule_id": rule.id,
    }
    rows = session.execute(_REPEATS, values).mappings()
    return [_oddity(row, expected=rule.max_times, unit=1, since=since) for row in rows]


def _oddity(row: RowMapping, *, expected: float, unit: int, since: datetime) -> _Oddity:
    return _Oddity(
        row["tenant_id"],
        row["subject_kind"],
        row["subject"],
        float(row["observed"]) / unit,
        float(expected) / unit,
        since,
    )


def _is_known(session: Session, rule: AnomalyRule, odd: _Oddity) -> bool:
    values = {
        "rule_id": rule.id,
        "tenant_id": odd.tenant_id,
        "subject_kind": odd.subject_kind,
        "subject": odd.subject,
        "since": odd.since,
    }
    return bool(session.scalar(_KNOWN, values))


def _write(session: Session, rule: AnomalyRule, odd: _Oddity, *, now: datetime) -> AnomalyFinding:
    finding = AnomalyFinding(
        id=new_id("odd"),
        rule_id=rule.id,
        tenant_id=odd.tenant_id,
        subject_kind=odd.subject_kind,
        subject=odd.subject,
        observed=odd.observed,
        expected=odd.expected,
        since=odd.since,
        froze=rule.freezes,
        found_at=now,
    )
    session.add(finding)
    session.flush()
    if rule.freezes:
        reason = f"the anomaly rule {rule.id} found {finding.id}"
        freeze_tenant(session, tenant_id=odd.tenant_id, reason=reason, at=now)
    record_event(
        session,
        tenant_id=odd.tenant_id,
        event=EventType.ANOMALY_DETECTED,
        data=finding_view(finding, kind=rule.kind),
        at=now,
    )
    return finding


def finding_view(finding: AnomalyFinding, *, kind: str | None = None) -> dict[str, object]:
    """A finding as the public sees it; tokens and times as numbers."""
    view: dict[str, object] = {
        "id": finding.id,
        "object": "anomaly",
        "rule": finding.rule_id,
        "tenant": finding.tenant_id,
        "subject_kind": finding.subject_kind,
        "subject": finding.subject,
        "observed": finding.observed,
        "expected": finding.expected,
        "since": finding.since.isoformat().replace("+00:00", "Z"),
        "froze": finding.froze,
        "found_at": finding.found_at.isoformat().replace("+00:00", "Z"),
    }
    return view if kind is None else {**view, "kind": kind}
