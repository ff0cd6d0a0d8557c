"""Canceling all jobs of a batch; a part of the writer of jobs, see ``app.jobs.service``.

First every job is told in one statement, so that no worker takes one any more and running ones
stop; then those in the queue are ended by chunks, each with its usage record.
"""

from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.jobs.ending import book_usage
from app.jobs.record import all_rows

CHUNK: Final = 200

_TELL = text(
    """
    WITH due AS (
        SELECT id FROM job WHERE batch_id = :batch_id AND finished_at IS NULL
            AND cancel_requested_at IS NULL ORDER BY id FOR UPDATE
    )
    UPDATE job SET cancel_requested_at = clock_timestamp() FROM due WHERE job.id = due.id
    """
)
_END_QUEUED = text(
    """
    WITH due AS (
        SELECT id FROM job WHERE batch_id = :batch_id AND status = 'queued'
            AND cancel_requested_at IS NOT NULL ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE job SET status = 'canceled', finished_at = clock_timestamp()
      FROM due WHERE job.id = due.id RETURNING job.*
    """
)


def tell_to_cancel(session: Session, *, batch_id: str) -> None:
    """Ask every job of a batch that has not ended to stop."""
    session.execute(_TELL, {"batch_id": batch_id})


def end_queued(session: Session, *, batch_id: str) -> int:
    """End the next told jobs that wait in the queue; returns how many, 0 when none is left."""
    rows = all_rows(session.execute(_END_QUEUED, {"batch_id": batch_id, "limit": CHUNK}))
    for row in rows:
        book_usage(session, ended=row)
    return len(rows)
