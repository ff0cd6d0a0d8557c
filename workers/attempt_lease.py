"""The lease on one attempt of a job, kept alive by a thread while the engine works.

Once a second one UPDATE extends the lease, writes the progress and brings back whether somebody
asked to cancel; now and then it extends the lease on the job's tokens too. A worker that dies
stops renewing; fifteen seconds later the job is free again.
"""

import logging
import threading
import time
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import renew
from app.jobs.record import Progress
from billing.leases import extend

log = logging.getLogger(__name__)

LEASE_S = 15.0
RENEW_EVERY_S = 1.0
HOLD_EVERY_S = 600.0  # how often the hold of the job hears that somebody works on it


class StopReason(StrEnum):
    """Why a run has to stop at its next checkpoint."""

    CANCELED = "canceled"  # the customer asked
    LEASE_LOST = "lease_lost"  # another attempt owns the job, or it ended
    RUNTIME = "runtime"  # over max_runtime_s


# Extends a lease of ``lease_s`` seconds and tells the progress; True: cancelling was asked for.
# Raises ``StaleFenceError`` when the lease was lost.
Renewal = Callable[[Session, float, Progress | None], bool]


class Renewer(threading.Thread):
    """Renews the leases of this process, once a second each.

    One thread for the life of the process: starting one per attempt would cost each tiny job a
    wait for the scheduler.
    """

    def __init__(self, *, every_s: float = RENEW_EVERY_S) -> None:
        super().__init__(name="lease-renewer", daemon=True)
        self._every_s = every_s
        self._leases: frozenset[AttemptLease] = frozenset()
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def add(self, lease: "AttemptLease") -> None:
        """Renew this lease from now on."""
        with self._lock:
            self._leases |= {lease}

    def remove(self, lease: "AttemptLease") -> None:
        """Renew it no more; a renewal under way may still happen, and then finds the end."""
        with self._lock:
            self._leases -= {lease}

    def end(self) -> None:
        """Renew nothing more."""
        self._ended.set()

    def run(self) -> None:
        """Renew until ended."""
        while not self._ended.wait(self._every_s):
            for lease in self._leases:
                lease.renew_now()


class AttemptLease:
    """The lease on one attempt; use as a context manager around the run."""

    def __init__(
        self,
        sessions: sessionmaker[Session],
        renewer: Renewer,
        *,
        job_id: str,
        attempt: int,
        runtime_s: float,
        renewal: Renewal | None = None,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sessions = sessions
        self._renewer = renewer
        self._job_id = job_id
        self._attempt = attempt
        self._renewal = renewal or self._renew_job
        self._lease_s = lease_s
        self._clock = clock
        self._deadline = clock() + runtime_s
        self._hold_due = clock()
        self._progress: Progress | None = None
        self._stop: StopReason | None = None

    def __enter__(self) -> Self:
        """Start to renew."""
        self._renewer.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop renewing."""
        self._renewer.remove(self)

    @property
    def progress(self) -> Progress | None:
        """The last that was told, written or not."""
        return self._progress

    def tell(self, progress: Progress) -> None:
        """Remember how far the run is; the next renewal writes it."""
        self._progress = progress

    @property
    def stop_reason(self) -> StopReason | None:
        """Why the run must stop, or None to go on."""
        if self._stop is None and self._clock() >= self._deadline:
            self._stop = StopReason.RUNTIME
        return self._stop

    def renew_now(self) -> None:
        """Extend the lease, write the progress, and hear whether to stop; never raises."""
        try:
            with self._sessions.begin() as session:
                is_cancel_asked = self._renewal(session, self._lease_s, self._progress)
                if self._clock() >= self._hold_due:
                    extend(session, jobs=[self._job_id])
                    self._hold_due = self._clock() + HOLD_EVERY_S
        except StaleFenceError:
            self._stop = StopReason.LEASE_LOST
        except SQLAlchemyError as error:
            # The database may be back before the lease is given to somebody else; if not, the
            # fence refuses whatever this run would write.
            log.warning("%s: lease not renewed, trying again: %s", self._job_id, error)
        else:
            if is_cancel_asked:
                self._stop = StopReason.CANCELED

    def _renew_job(self, session: Session, lease_s: float, progress: Progress | None) -> bool:
        return renew(
            session,
            job_id=self._job_id,
            attempt=self._attempt,
            lease_s=lease_s,
            progress=progress,
        )
