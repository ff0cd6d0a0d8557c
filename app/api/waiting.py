"""``Prefer: wait``: sleep until a job is settled, woken by the database.

One listener thread per process, started by the first waiter and so after every fork. It only
makes waiting short: each waiter also looks for itself once a second, so a lost notification or a
restarted database costs a second and never an answer.

A waiter occupies a server thread. At most ``waiters_max`` wait at once; the next caller gets its
202 immediately, which is always a right answer to a preference.
"""

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psycopg

CHANNEL = "pixelmeter_settled"
POLL_S = 1.0
WAIT_S_MAX = 60
WAITERS_MAX = 4  # of the 8 threads of a worker process
RECONNECT_S = 1.0

WAIT_PREFERENCE = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)

logger = logging.getLogger("pixelmeter.api")


def preferred_wait_s(prefer: str | None) -> int:
    """The seconds of ``Prefer: wait=N`` (RFC 7240), at most ``WAIT_S_MAX``; 0 when absent."""
    found = WAIT_PREFERENCE.search(prefer or "")
    return min(int(found[1]), WAIT_S_MAX) if found else 0


@dataclass(slots=True)
class SettledListener:
    """Wakes the threads of this process that wait for a job to be settled."""

    database_url: str
    waiters_max: int = WAITERS_MAX
    poll_s: float = POLL_S
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _waiting: dict[str, list[threading.Event]] = field(default_factory=dict)
    _count: int = 0
    _thread: threading.Thread | None = None
    _closed: threading.Event = field(default_factory=threading.Event)

    def wait_for(self, job_id: str, *, settled: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until ``settled()``; False when the time is over or too many already wait.

        ``settled`` reads the database in a transaction of its own: nothing is held while asleep.
        """
        with self._registered(job_id) as event:
            if event is None:
                return False
            deadline = time.monotonic() + timeout_s
            while not settled():
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                event.wait(min(self.poll_s, left))
                event.clear()
            return True

    @contextmanager
    def _registered(self, job_id: str) -> Iterator[threading.Event | None]:
        event = self._register(job_id)
        try:
            yield event
        finally:
            if event is not None:
                self._forget(job_id, event)

    def _register(self, job_id: str) -> threading.Event | None:
        with self._lock:
            if self._count >= self.waiters_max:
                return None
            self._count += 1
            event = threading.Event()
            self._waiting.setdefault(job_id, []).append(event)
            self._ensure_thread()
            return event

    def _forget(self, job_id: str, event: threading.Event) -> None:
        with self._lock:
            self._count -= 1
            remaining = [other for other in self._waiting[job_id] if other is not event]
            if remaining:
                self._waiting[job_id] = remaining
            else:
                del self._waiting[job_id]

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._listen, name="settled", daemon=True)
            self._thread.start()

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                self._listen_once()
            except psycopg.Error as error:
                logger.warning("listening for settled jobs stopped: %s; trying again", error)
                self._closed.wait(RECONNECT_S)

    def _listen_once(self) -> None:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            while not self._closed.is_set():
                for notice in connection.notifies(timeout=self.poll_s):
                    self._wake(notice.payload)

    def _wake(self, job_id: str) -> None:
        with self._lock:
            for event in self._waiting.get(job_id, ()):
                event.set()

    def close(self) -> None:
        """End the listener thread; waiters fall back to looking for themselves."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(timeout=2 * self.poll_s)
