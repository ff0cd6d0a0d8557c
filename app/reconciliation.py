"""Compare the books with the transfers and the jobs, write down what is off, freeze whom it hits.

The comparison reads one snapshot and locks nothing. Its findings are rows; each tenant with a
finding is frozen, so that nothing more is spent from books that are wrong, and the operators see
an error in the log. A repair is an approved correction (``billing.corrections``).
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.limits.freezing import freeze_tenant
from billing import findings
from billing.findings import KeptFinding
from billing.reconcile import Finding, check

log = logging.getLogger(__name__)

# A job that ended is settled within seconds; after this long nobody will.
_SETTLED_BY = "interval '1 hour'"
JOB_CHECKS: Final = {
    # its hold is open and no usage waits: nothing will ever close it
    "job_hold_open": f"""
        SELECT format('job %s', j.id), format('%s at %s, hold %s is open', j.status, j.finished_at,
                                              h.id)
          FROM job j JOIN billing.hold h ON h.job = j.id AND h.state = 'open'
          LEFT JOIN billing.settlement_due d ON d.job = j.id
         WHERE j.finished_at < clock_timestamp() - {_SETTLED_BY} AND d.job IS NULL
    """,  # noqa: S608 - constants
    # it ended and never became settled
    "job_unresolved": f"""
        SELECT format('job %s', j.id), format('%s at %s and not settled', j.status, j.finished_at)
          FROM job j
         WHERE j.finished_at < clock_timestamp() - {_SETTLED_BY} AND j.settled_at IS NULL
    """,  # noqa: S608 - constants
}
_TRANSFERS = text("SELECT count(*) FROM billing.transfer")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished reconciliation."""

    id: int
    findings: tuple[KeptFinding, ...]
    frozen: tuple[str, ...]  # tenants


def reconcile(
    sessions: sessionmaker[Session], *, asked_by: str, day: date | None = None
) -> Outcome | None:
    """Compare and write down; None when the nightly one of this day was done before."""
    with sessions.begin() as session:
        run = findings.begin(session, asked_by=asked_by, day=day, now=datetime.now(UTC))
    if run is None:
        return None
    with sessions() as session:
        found = [*check(session), *_about_jobs(session)]
        transfers = session.execute(_TRANSFERS).scalar_one()
    now = datetime.now(UTC)
    with sessions.begin() as session:
        kept = findings.finish(session, run, found=found, transfers=transfers, now=now)
        frozen = _freeze(session, kept, run=run, now=now)
    for each in kept:
        log.error("reconciliation %d: %s %s: %s", run, each.code, each.subject, each.detail)
    return Outcome(run, tuple(kept), frozen)


def _about_jobs(session: Session) -> Iterator[Finding]:
    for code, query in JOB_CHECKS.items():
        for row in session.execute(text(query)):
            yield Finding(code, row[0], row[1])


def _freeze(
    session: Session, kept: list[KeptFinding], *, run: int, now: datetime
) -> tuple[str, ...]:
    """Wallets are locked in the order of their tenants' ids; nobody else locks several here."""
    tenants = tuple(sorted({each.tenant for each in kept if each.tenant is not None}))
    for tenant in tenants:
        reason = f"reconciliation {run} found the books of this tenant to differ"
        freeze_tenant(session, tenant_id=tenant, reason=reason, at=now)
    return tenants
