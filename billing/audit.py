"""The audit log: who did what, in a hash chain together with every journal of money.

Each row of the chain is ``SHA-256(digest of the row before || canonical row)``; the canonical row
of a journal contains its transfers. Whoever changes, removes, adds or swaps a row past the triggers
breaks the chain at that row. Actions enter it at the commit of their transaction, journals within
seconds by ``seal``: no hold or settlement waits for the chain.

A chain proves nothing about rows cut off its end together with its head. ``verify`` therefore
returns the head: keep it somewhere else and pass it in the next time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, text
from sqlalchemy.orm import Session

from billing.tables import audit_action


@dataclass(frozen=True, slots=True)
class Head:
    """The last row of the chain; ``0`` and the start value when there is none yet."""

    seq: int
    digest: str  # hexadecimal


@dataclass(frozen=True, slots=True)
class Break:
    """A row that is not what was recorded; ``seq`` is None for one that never was in the chain."""

    seq: int | None
    row: str  # "action 7", "journal 1203"
    detail: str

    def __str__(self) -> str:
        """One line for an operator."""
        place = "outside the chain" if self.seq is None else f"row {self.seq}"
        return f"{place}: {self.row}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found; ``breaks`` is in the order of the chain, its first row first."""

    head: Head
    rows: int
    waiting: int  # journals that are booked and not sealed yet
    breaks: tuple[Break, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the log."""

    seq: int
    at: datetime
    actor: str
    action: str  # "tenant.create"; of a journal "journal.grant"
    subject: str
    detail: dict[str, Any]
    journal: int | None
    digest: str


_SEAL = text("SELECT billing.seal_journals(:limit)")
_BATCH = 2000  # an action that commits meanwhile waits for one batch, some 50 ms
_SHOWN_MAX = 100

_START = "sha256('pixelmeter audit')"
_BREAKS = text(
    f"""
    WITH chain AS (
        SELECT e.*, lag(e.seq, 1, 0::bigint) OVER walk AS before,
               lag(e.digest, 1, {_START}) OVER walk AS digest_before,
               CASE WHEN e.action IS NOT NULL THEN format('action %s', e.action)
                    ELSE format('journal %s', e.journal) END AS name,
               CASE WHEN e.action IS NOT NULL
                    THEN billing.audit_text_of_action(e.seq, e.action)
                    ELSE billing.audit_text_of_journal(e.seq, e.wallet, e.journal) END AS content
          FROM billing.audit_entry e WINDOW walk AS (ORDER BY e.seq)
    )
    SELECT c.before + 1 AS seq, format('rows %s to %s', c.before + 1, c.seq - 1) AS row,
           'missing from the chain' AS detail
      FROM chain c WHERE c.seq <> c.before + 1
    UNION ALL
    SELECT c.seq, c.name, CASE WHEN c.content IS NULL THEN 'what it recorded is gone'
                               ELSE 'is not what was recorded' END
      FROM chain c
     WHERE c.seq = c.before + 1
       AND (c.content IS NULL
            OR c.digest <> sha256(c.digest_before || convert_to(c.content, 'UTF8')))
    UNION ALL
    SELECT coalesce(last.seq, 0) + 1, 'end of the chain',
           format('the head says %s rows, the chain ends at %s', h.seq, coalesce(last.seq, 0))
      FROM billing.audit_head h LEFT JOIN (
           SELECT e.seq, e.digest FROM billing.audit_entry e ORDER BY e.seq DESC LIMIT 1) last
           ON true
     WHERE h.seq <> coalesce(last.seq, 0) OR h.digest <> coalesce(last.digest, {_START})
    UNION ALL
    SELECT NULL, format('journal %s', j.id), 'was booked and never noted for the chain'
      FROM billing.journal j
      LEFT JOIN billing.audit_entry e ON e.journal = j.id
      LEFT JOIN billing.audit_due d ON d.journal = j.id
     WHERE e.seq IS NULL AND d.journal IS NULL
    UNION ALL
    SELECT NULL, format('action %s', a.id), 'was written past the chain'
      FROM billing.audit_action a LEFT JOIN billing.audit_entry e ON e.action = a.id
     WHERE e.seq IS NULL
     ORDER BY 1 NULLS LAST, 2 LIMIT :limit
    """  # noqa: S608 - a constant
)
_HEAD = text(
    """
    SELECT h.seq, encode(h.digest, 'hex') AS digest,
           (SELECT count(*) FROM billing.audit_entry) AS rows,
           (SELECT count(*) FROM billing.audit_due) AS waiting
      FROM billing.audit_head h
    """
)
_KEPT = text("SELECT encode(digest, 'hex') FROM billing.audit_entry WHERE seq = :seq")
_ENTRIES = text(
    """
    SELECT e.seq, coalesce(a.at, j.booked_at) AS at, coalesce(a.actor, j.actor) AS actor,
           coalesce(a.action, 'journal.' || j.kind) AS action,
           coalesce(a.subject, 'wallet ' || j.wallet) AS subject,
           coalesce(a.detail, jsonb_build_object('ref', j.ref, 'approval', j.approval,
                                                 'reverses', j.reverses)) AS detail,
           e.journal, encode(e.digest, 'hex') AS digest
      FROM billing.audit_entry e
      LEFT JOIN billing.audit_action a ON a.id = e.action
      LEFT JOIN billing.journal j ON j.wallet = e.wallet AND j.id = e.journal
     WHERE e.seq < :before
       AND (CAST(:kind AS text) IS NULL OR (e.journal IS NULL) = (:kind = 'action'))
       AND (CAST(:actor AS text) IS NULL OR coalesce(a.actor, j.actor) = :actor)
     ORDER BY e.seq DESC LIMIT :limit
    """
)
_BEYOND_EVERY_SEQ = 2**63 - 1


def record(
    session: Session,
    *,
    actor: str,
    action: str,
    subject: str,
    detail: Mapping[str, Any],
    now: datetime,
) -> None:
    """Write down what an operator did, in the transaction that does it.

    Args:
        session: the action is in the log if, and only if, this session's transaction commits.
        actor: who: an operator, ``cli``, ``system``.
        action: what, as ``thing.verb``: ``tenant.create``.
        subject: to what: an id.
        detail: the arguments, JSON-ready; never a secret.
        now: when.
    """
    session.execute(
        insert(audit_action).values(
            at=now, actor=actor, action=action, subject=subject, detail=dict(detail)
        )
    )


def seal(session: Session, *, limit: int = _BATCH) -> int:
    """Put up to ``limit`` journals that wait into the chain; returns how many. Commit soon."""
    sealed: int = session.execute(_SEAL, {"limit": limit}).scalar_one()
    return sealed


def verify(session: Session, *, kept: Head | None = None) -> Verdict:
    """Compute the whole chain again and compare; ``kept`` is the head of an earlier verification.

    One statement looks at one snapshot, so it may run beside everything else.
    """
    session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    breaks = find_breaks(session)
    if kept is not None and (lost := _lost(session, kept)) is not None:
        breaks = [lost, *breaks]
    head = session.execute(_HEAD).mappings().one()
    return Verdict(
        head=Head(head["seq"], head["digest"]),
        rows=head["rows"],
        waiting=head["waiting"],
        breaks=tuple(breaks),
    )


def find_breaks(session: Session) -> list[Break]:
    """The first broken rows, up to 100, in the order of the chain."""
    rows = session.execute(_BREAKS, {"limit": _SHOWN_MAX}).mappings()
    return [Break(row["seq"], row["row"], row["detail"]) for row in rows]


def entries(
    session: Session,
    *,
    limit: int,
    after: int | None = None,
    kind: str | None = None,
    actor: str | None = None,
) -> list[Entry]:
    """Rows of the log, newest first; ``after`` is the ``seq`` of the last row already seen.

    ``kind`` is ``action`` or ``journal``.
    """
    values = {
        "before": _BEYOND_EVERY_SEQ if after is None else after,
        "limit": limit,
        "kind": kind,
        "actor": actor,
    }
    return [_entry(row) for row in session.execute(_ENTRIES, values).mappings()]


def _lost(session: Session, kept: Head) -> Break | None:
    """Whether the row that was the head once is still there."""
    if kept.seq == 0:
        return None
    digest = session.scalar(_KEPT, {"seq": kept.seq})
    if digest == kept.digest:
        return None
    detail = "missing from the chain" if digest is None else f"its digest was {kept.digest}"
    return Break(kept.seq, f"row {kept.seq}, the head that was kept", detail)


def _entry(row: RowMapping) -> Entry:
    return Entry(
        seq=row["seq"],
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        subject=row["subject"],
        detail=row["detail"],
        journal=row["journal"],
        digest=row["digest"],
    )
