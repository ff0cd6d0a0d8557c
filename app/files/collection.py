"""Deleting what may no longer be kept: expired files, objects without a row, dead scratch files."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.storage import Storage

# A file that expires while a request holds its id can still be read by it.
GRACE: Final = timedelta(minutes=10)
# Longer than any upload or job step between writing an object and committing its row.
ORPHAN_AGE_S: Final = 3600.0
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
_KNOWN = text(
    "SELECT storage_key FROM file WHERE storage_key = ANY(:keys) UNION ALL"
    " SELECT storage_key FROM tenant_model WHERE storage_key = ANY(:keys) AND deleted_at IS NULL"
    # Results of segments wait for their job's end, however long that takes.
    " UNION ALL SELECT part ->> 'key' FROM segment, jsonb_array_elements(files) part"
    " WHERE has_objects AND part ->> 'key' = ANY(:keys)"
    " UNION ALL SELECT storage_key FROM upload WHERE storage_key = ANY(:keys) AND file_id IS NULL"
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


def collect_orphans(
    session: Session, storage: Storage, *, older_than_s: float = ORPHAN_AGE_S
) -> int:
    """Delete objects that no row names and scratch files of dead processes; returns how many."""
    removed = storage.clean_scratch(older_than_s=older_than_s)
    keys = storage.keys(older_than_s=older_than_s)
    while batch := list(islice(keys, _BATCH)):
        for key in _unknown(session, batch):
            storage.delete(key)
            removed += 1
    return removed


def _unknown(session: Session, keys: Sequence[str]) -> Iterator[str]:
    known = set(session.scalars(_KNOWN, {"keys": list(keys)}))
    return (key for key in keys if key not in known)
