"""The price book at hand: read from the database at most every few seconds per process."""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sqlalchemy.orm import Session

from billing.cards import CardBook, load_book

BOOK_TTL_S: Final = 5.0


class CardShelf:
    """Keeps one immutable ``CardBook``; shared by the threads of a process.

    A new card or a tenant's own card therefore counts within ``ttl_s`` seconds. What a job costs
    does not depend on it: its quote names the card version that settles it.
    """

    def __init__(
        self,
        *,
        ttl_s: float = BOOK_TTL_S,
        load: Callable[[Session, datetime], CardBook] = load_book,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s = ttl_s
        self._load = load
        self._clock = clock
        self._lock = threading.Lock()
        self._book: CardBook | None = None
        self._stale_at = 0.0

    def current(self, session: Session, *, now: datetime) -> CardBook:
        """The book valid ``now``, give or take ``ttl_s``."""
        book = self._book
        if book is not None and self._clock() < self._stale_at:
            return book
        # Whoever waits for the lock may hold a connection. Who has it must not wait for one: with
        # the pool empty nobody would go on.
        session.connection()
        with self._lock:
            if self._book is None or self._clock() >= self._stale_at:
                self._book = self._load(session, now)
                self._stale_at = self._clock() + self._ttl_s
            return self._book
