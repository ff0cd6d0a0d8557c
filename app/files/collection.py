"""Deleting files whose time is over; what no row names is ``app.files.garbage``."""

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.storage import Storage

# A file that expires while a request holds its id can still be read by it.
GRACE: Final = timedelta(minutes=10)
_BATCH: Final = 500

# The inputs of a job that has not ended stay, however long it waits in the queue.
_COLLECT = text(
    """
    WITH in_use AS (
        SELECT inputs ->> 'target' AS id FROM job WHERE finished_at IS NULL
        UNION ALL
        SELECT jsonb_array_elements_text(inputs -> 'source') FROM job WHERE finished_at IS NULL
    ), due AS (
        SELECT file.id FROM file
        WHERE expires_at < :before AND NOT EXISTS (SELECT FROM in_use WHERE in_use.id = file.id)
        ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    DELETE FROM file USING due WHERE file.id = due.id RETURNING storage_key
    """
)


def collect_expired(
    session: Session, storage: Storage, now: datetime, *, limit: int = _BATCH
) -> int:
    """Delete up to ``limit`` expired files, object first in effect and row by the caller's commit.

    Should that commit fail, the rows stay expired without an object and go the next time.
    Returns how many went; call again while it is ``limit``.
    """
    keys = session.scalars(_COLLECT, {"before": now - GRACE, "limit": limit}).all()
    for key in keys:
        storage.delete(key)
    return len(keys)
