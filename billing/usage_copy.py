"""Usage lines in batches for a copy elsewhere: none is missed, and a batch never changes.

Lines are taken in the order of the transactions that wrote them, and only of transactions older
than every one that still runs: whatever commits later stands behind. The end of a batch is noted
before it is sent, so what is sent again after a lost answer is the very same batch under the same
token, and a receiver that knows tokens takes it once. Nothing is locked while a batch is under way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Batch:
    """Lines on their way to a sink; the same token always means the same lines."""

    sink: str
    token: str
    lines: Sequence[Mapping[str, Any]]
    end: tuple[int, str]  # xid and job of the last line


_OPEN = text("INSERT INTO billing.usage_copy (sink) VALUES (:sink) ON CONFLICT DO NOTHING")
_CURSOR = text(
    "SELECT xid, job, sent_xid, sent_job FROM billing.usage_copy WHERE sink = :sink FOR UPDATE"
)
_END = text(
    """
    SELECT max(l.xid) AS xid, (array_agg(l.job ORDER BY l.xid DESC, l.job DESC))[1] AS job
      FROM (SELECT u.xid, u.job FROM billing.usage_line u
             WHERE (u.xid, u.job) > (:xid, :job)
               AND u.xid < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)
             ORDER BY u.xid, u.job LIMIT :limit) l
    """
)
_NOTE = text(
    "UPDATE billing.usage_copy SET sent_xid = :end_xid, sent_job = :end_job WHERE sink = :sink"
)
_LINES = text(
    """
    SELECT l.job, w.tenant, l.settled_at, l.project, l.api_key, l.end_user, l.engine, l.model,
           l.device, l.outcome, l.cached, l.charged, l.gpu_us
      FROM billing.usage_line l JOIN billing.wallet w ON w.id = l.wallet
     WHERE (l.xid, l.job) > (:xid, :job) AND (l.xid, l.job) <= (:end_xid, :end_job)
     ORDER BY l.xid, l.job
    """
)
_ADVANCE = text(
    """
    UPDATE billing.usage_copy
       SET xid = sent_xid, job = sent_job, sent_xid = NULL, sent_job = NULL,
           lines = lines + :lines, moved_at = clock_timestamp()
     WHERE sink = :sink AND sent_xid = :end_xid AND sent_job = :end_job
    RETURNING lines
    """
)


def next_batch(session: Session, *, sink: str, limit: int) -> Batch | None:
    """The batch that is to be sent now; commit before sending. None: everything is there."""
    session.execute(_OPEN, {"sink": sink})
    cursor = session.execute(_CURSOR, {"sink": sink}).one()
    after = {"xid": cursor.xid, "job": cursor.job}
    end = (cursor.sent_xid, cursor.sent_job)
    if cursor.sent_xid is None:
        found = session.execute(_END, {**after, "limit": limit}).one()
        if found.xid is None:
            return None
        end = (found.xid, found.job)
        session.execute(_NOTE, {"sink": sink, "end_xid": end[0], "end_job": end[1]})
    values = {**after, "end_xid": end[0], "end_job": end[1]}
    lines = session.execute(_LINES, values).mappings().all()
    token = f"{cursor.xid}:{cursor.job}:{end[0]}:{end[1]}"
    return Batch(sink, token, [dict(line) for line in lines], end)


def arrived(session: Session, batch: Batch) -> bool:
    """Note that a batch arrived; False when somebody else noted it before."""
    values = {
        "sink": batch.sink,
        "end_xid": batch.end[0],
        "end_job": batch.end[1],
        "lines": len(batch.lines),
    }
    return session.execute(_ADVANCE, values).one_or_none() is not None
