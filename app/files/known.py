"""Files that were looked up a moment ago: the facts of a file never change while it exists.

A job on an uploaded file needs no question to the database for it. A file that is deleted ahead of
its time may be accepted for ``TTL_S`` more seconds; its job then ends with ``input_gone`` and costs
nothing. A file past its ``expires_at`` is never known.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from app.files.models import File
from app.files.service import find_many, get_many

TTL_S: Final = 10.0
FILES_MAX: Final = 10_000


@dataclass(slots=True)
class KnownFiles:
    """Files by tenant and id, for ``TTL_S``; shared by the threads of a process, read-only."""

    clock: Callable[[], float] = time.monotonic
    _known: dict[tuple[str, str], tuple[float, File]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get_many(
        self, session: Session, *, tenant_id: str, file_ids: Sequence[str], now: datetime
    ) -> Mapping[str, File]:
        """As ``app.files.service.get_many``, with a query for those that are not known only.

        Do not ask for files that this transaction has added: it may still be rolled back.
        """
        found = {
            file_id: file
            for file_id in file_ids
            if (file := self._recent(tenant_id, file_id, now)) is not None
        }
        missing = [file_id for file_id in file_ids if file_id not in found]
        if missing:
            read = get_many(session, tenant_id=tenant_id, file_ids=missing, now=now)
            self._remember(read)
            found.update(read)
        return found

    def prefetch(
        self, session: Session, *, tenant_id: str, file_ids: Collection[str], now: datetime
    ) -> None:
        """Look many files up with one query, so that ``get_many`` knows those that are there."""
        unknown = {each for each in file_ids if self._recent(tenant_id, each, now) is None}
        if unknown:
            self._remember(find_many(session, tenant_id=tenant_id, file_ids=unknown, now=now))

    def _recent(self, tenant_id: str, file_id: str, now: datetime) -> File | None:
        known = self._known.get((tenant_id, file_id))
        if known is None or self.clock() >= known[0] or known[1].expires_at <= now:
            return None
        return known[1]

    def _remember(self, read: Mapping[str, File]) -> None:
        until = self.clock() + TTL_S
        with self._lock:
            if len(self._known) + len(read) > FILES_MAX:
                self._known.clear()
            for file in read.values():
                self._known[file.tenant_id, file.id] = (until, _copy(file))


def _copy(file: File) -> File:
    """The same facts without a session, which would expire them with its next rollback."""
    return File(**{name: getattr(file, name) for name in File.__mapper__.columns.keys()})  # noqa: SIM118 - a mapping of columns by attribute
