"""The lease on one attempt of a job, kept alive by a thread while the engine works.

Once a second one UPDATE extends the lease, writes the progress and brings back whether somebody
asked to cancel. A worker that dies stops renewing; fifteen seconds later the job is free again.
"""

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import renew
from app.jobs.record import Progress

log = logging.getLogger(__name__)

LEASE_S = 15.0
RENEW_EVERY_S = 1.0

# Losing a renewal in a crash loses nothing: the lease only ends sooner.
RELAXED_COMMIT = text("SET LOCAL synchronous_commit = off")


class StopReason(StrEnum):
    """Why a run has to stop at its next checkpoint."""

    CANCELED = "canceled"  # the customer asked
    LEASE_LOST = "lease_lost"  # another attempt owns the job, or it ended
    RUNTIME = "runtime"  # over max_runtime_s


class AttemptLease:
    """Owns the renewing thread; use as a context manager around the run."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        *,
        job_id: str,
        attempt: int,
        runtime_s: float,
        lease_s: float = LEASE_S,
        every_s: float = RENEW_EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._job_id = job_id
        self._attempt = attempt
        self._lease_s = lease_s
        self._every_s = every_s
        self._clock = clock
        self._deadline = clock() + runtime_s
        self._progress: Progress | None = None
        self._stop: StopReason | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew_until_ended, daemon=True, name="lease")

    def __enter__(self) -> Self:
        """Start to renew."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop renewing; a renewal under way is waited for."""
        self._ended.set()
        self._thread.join()

    def tell(self, progress: Progress) -> None:
        """Remember how far the run is; the next renewal writes it."""
        self._progress = progress

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the run must stop, or None to go on."""
        if self._stop is None and self._clock() >= self._deadline:
            self._stop = StopReason.RUNTIME
        return self._stop

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(self._every_s):
            try:
                self._renew()
            except StaleFenceError:
                self._stop = StopReason.LEASE_LOST
                return
            except SQLAlchemyError as error:
                # The database may be back before the lease is given to somebody else; if not,
                # the fence refuses whatever this run would write.
                log.warning("%s: lease not renewed, trying again: %s", self._job_id, error)

    def _renew(self) -> None:
        with self._sessions.begin() as session:
            session.execute(RELAXED_COMMIT)
            is_cancel_asked = renew(
                session,
                job_id=self._job_id,
                attempt=self._attempt,
                lease_s=self._lease_s,
                progress=self._progress,
            )
        if is_cancel_asked:
            self._stop = StopReason.CANCELED
