"""Reconciliations as rows: when the books were compared, and what was found.

The only writer of both tables. A finding is never changed; a repair is an approved correction, and
the next reconciliation shows that it helped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

from sqlalchemy import RowMapping, insert, select, text, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.orm import Session

from billing.reconcile import Finding
from billing.tables import finding, reconciliation

FINDINGS_KEPT_MAX: Final = 10_000  # of one reconciliation; the count tells how many there were


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One comparison of the books; the last three are None while it runs."""

    id: int
    asked_by: str
    day: date | None  # of a nightly one
    started_at: datetime
    finished_at: datetime | None
    transfers: int | None  # how many there were
    findings: int | None


@dataclass(frozen=True, slots=True)
class KeptFinding:
    """A broken promise and whose it is, if it is anybody's."""

    code: str
    subject: str
    detail: str
    tenant: str | None


_TENANTS = text(
    """
    SELECT f.nr, w.tenant
      FROM unnest(CAST(:things AS text[]), CAST(:names AS text[])) WITH ORDINALITY
           f (thing, name, nr)
      JOIN billing.wallet w ON w.id = CASE f.thing
           WHEN 'wallet' THEN CAST(f.name AS bigint)
           WHEN 'grant' THEN (SELECT g.wallet FROM billing.token_grant g
                               WHERE g.id = CAST(f.name AS bigint))
           WHEN 'budget' THEN (SELECT b.wallet FROM billing.budget b
                                WHERE b.id = CAST(f.name AS bigint))
           WHEN 'transfer' THEN (SELECT t.wallet FROM billing.transfer t
                                  WHERE t.journal = CAST(split_part(f.name, '/', 1) AS bigint)
                                  LIMIT 1)
           WHEN 'hold' THEN (SELECT h.wallet FROM billing.hold h WHERE h.id = f.name)
           WHEN 'job' THEN (SELECT h.wallet FROM billing.hold h WHERE h.job = f.name) END
    """
)


def begin(session: Session, *, asked_by: str, day: date | None = None, now: datetime) -> int | None:
    """Open a reconciliation; None when the one of this day was begun before."""
    made: int | None = session.execute(
        insert_or(reconciliation)
        .values(asked_by=asked_by, day=day, started_at=now)
        .on_conflict_do_nothing(index_elements=["day"])
        .returning(reconciliation.c.id)
    ).scalar_one_or_none()
    return made


def finish(
    session: Session,
    run: int,
    *,
    found: Sequence[Finding],
    transfers: int,
    now: datetime,
) -> list[KeptFinding]:
    """Write down what was found; returns it with the tenants it belongs to."""
    kept = _with_tenants(session, found[:FINDINGS_KEPT_MAX])
    if kept:
        rows = [
            {
                "reconciliation": run,
                "seq": number,
                "code": each.code,
                "subject": each.subject,
                "detail": each.detail,
                "tenant": each.tenant,
            }
            for number, each in enumerate(kept, start=1)
        ]
        session.execute(insert(finding), rows)
    session.execute(
        update(reconciliation)
        .where(reconciliation.c.id == run)
        .values(finished_at=now, transfers=transfers, findings=len(found))
    )
    return kept


def listed(session: Session, *, limit: int = 50, after: int | None = None) -> list[Reconciliation]:
    """Reconciliations, newest first; ``after`` is the last id already seen."""
    wanted = select(reconciliation).order_by(reconciliation.c.id.desc()).limit(limit)
    if after is not None:
        wanted = wanted.where(reconciliation.c.id < after)
    return [_run(row) for row in session.execute(wanted).mappings()]


def findings_of(session: Session, run: int) -> list[KeptFinding]:
    """What a reconciliation found, in the order it was found."""
    rows = session.execute(
        select(finding).where(finding.c.reconciliation == run).order_by(finding.c.seq)
    ).mappings()
    return [KeptFinding(row["code"], row["subject"], row["detail"], row["tenant"]) for row in rows]


def _with_tenants(session: Session, found: Sequence[Finding]) -> list[KeptFinding]:
    parts = [each.subject.partition(" ") for each in found]
    values = {"things": [part[0] for part in parts], "names": [part[2] for part in parts]}
    tenants = {row.nr: row.tenant for row in session.execute(_TENANTS, values)}
    return [
        KeptFinding(each.code, each.subject, each.detail, tenants.get(number))
        for number, each in enumerate(found, start=1)
    ]


def _run(row: RowMapping) -> Reconciliation:
    return Reconciliation(**row)
