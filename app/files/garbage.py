"""No file without a row and no row without a file: the comparison, both ways.

Safe while others write. An object is garbage only when it has been whole for an hour and no row
names it: every writer commits its row within that time, or names the object before it is whole
(uploads). A row is garbage only when it has stood for ten minutes, and asking for its very object
says that there is none. When a large part of the rows has no object, the storage is another one
than theirs, and nothing is deleted at all.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session, sessionmaker

from app.storage import Storage

log = logging.getLogger(__name__)

ORPHAN_AGE_S: Final = 3600.0
SCRATCH_AGE_S: Final = 600.0
ROW_AGE: Final = timedelta(minutes=10)
BATCH: Final = 500
MISSING_ALWAYS: Final = 20  # so many rows may have lost their object, whatever the share
MISSING_SHARE: Final = 0.1

_KNOWN = text(
    "SELECT storage_key FROM file WHERE storage_key = ANY(:keys) UNION ALL"
    " SELECT storage_key FROM tenant_model WHERE storage_key = ANY(:keys) AND deleted_at IS NULL"
    # Results of segments wait for their job's end, however long that takes.
    " UNION ALL SELECT part ->> 'key' FROM segment, jsonb_array_elements(files) part"
    " WHERE has_objects AND part ->> 'key' = ANY(:keys)"
    " UNION ALL SELECT storage_key FROM upload WHERE storage_key = ANY(:keys) AND file_id IS NULL"
)
# Keys are hexadecimal with one slash at one place: every collation orders them as bytes.
_ROWS = text(
    "SELECT id, storage_key FROM file WHERE storage_key > :after AND created_at < :before"
    " ORDER BY storage_key LIMIT :limit"
)
_FORGET = text("DELETE FROM file WHERE id = :id RETURNING id")


class StrangeStorageError(Exception):
    """Raised when so many rows have no object that the storage must be another one than theirs."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was found; and deleted, unless it was a dry run."""

    scratch: int = 0  # private files of dead processes
    unfinished: int = 0  # objects that arrive in pieces, of no upload
    arrived: int = 0  # files that clients sent to the storage, of no upload
    orphans: int = 0  # whole objects that no row names
    missing: int = 0  # rows whose object is gone

    def __str__(self) -> str:
        """One line for logs and terminals."""
        return (
            f"{self.scratch} scratch files, {self.unfinished} unfinished and {self.arrived} arrived"
            f" uploads, {self.orphans} objects without a row, {self.missing} rows without an object"
        )


def collect_garbage(
    sessions: sessionmaker[Session],
    storage: Storage,
    *,
    now: datetime,
    dry_run: bool = False,
    orphan_age_s: float = ORPHAN_AGE_S,
) -> Garbage:
    """Compare everything; twice at once is fine.

    Raises:
        StrangeStorageError: nothing was deleted.
        StorageUnavailableError: the storage is away; what is left is found the next time.
    """
    missing = _missing(sessions, storage, now)
    orphans = _unknown(sessions, storage.keys(older_than_s=orphan_age_s))
    unfinished = _unknown(sessions, storage.growing.keys(older_than_s=orphan_age_s))
    direct = storage.direct
    arrived = _unknown(
        sessions, direct.keys(older_than_s=orphan_age_s) if direct is not None else iter(())
    )
    found = Garbage(
        unfinished=len(unfinished),
        arrived=len(arrived),
        orphans=len(orphans),
        missing=len(missing),
    )
    if dry_run:
        return found
    for key in unfinished:
        storage.growing.drop(key)
    for key in arrived:
        if direct is not None:
            direct.discard(key)
    for key in orphans:
        storage.delete(key)
    scratch = storage.clean_scratch(older_than_s=SCRATCH_AGE_S)
    _forget(sessions, missing)
    return replace(found, scratch=scratch)


def _unknown(sessions: sessionmaker[Session], keys: Iterator[str]) -> list[str]:
    """Those that nobody names."""
    found: list[str] = []
    while batch := list(islice(keys, BATCH)):
        with sessions() as session:
            known = set(session.scalars(_KNOWN, {"keys": batch}))
        found += [key for key in batch if key not in known]
    return found


def _missing(sessions: sessionmaker[Session], storage: Storage, now: datetime) -> list[str]:
    """Ids of files whose object is gone: both sides are walked once, in the order of keys."""
    objects = (each.key for each in storage.objects())
    at, seen, candidates = next(objects, None), 0, []
    for row in _rows(sessions, now):
        seen += 1
        while at is not None and at < row.storage_key:
            at = next(objects, None)
        if at != row.storage_key:
            candidates.append(row)
    gone = [row.id for row in candidates if storage.size(row.storage_key) is None]
    if len(gone) > max(MISSING_ALWAYS, seen * MISSING_SHARE):
        message = (
            f"{len(gone)} of {seen} files have no object: STORAGE_URL must name another storage "
            "than theirs. Nothing was deleted."
        )
        raise StrangeStorageError(message)
    return gone


def _rows(sessions: sessionmaker[Session], now: datetime) -> Iterator[Row[tuple[str, str]]]:
    """Files that have stood for a while, page by page: no transaction is held."""
    page: Sequence[Row[tuple[str, str]]] = ()
    after = ""
    while True:
        asked = {"after": after, "before": now - ROW_AGE, "limit": BATCH}
        with sessions() as session:
            page = session.execute(_ROWS, asked).all()
        yield from page
        if len(page) < BATCH:
            return
        after = page[-1].storage_key


def _forget(sessions: sessionmaker[Session], file_ids: Sequence[str]) -> None:
    for file_id in file_ids:
        with sessions.begin() as session:
            if session.execute(_FORGET, {"id": file_id}).one_or_none() is not None:
                log.warning("%s: its object is gone, so is its row now", file_id)
