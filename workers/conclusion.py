"""Writing what attempts came to, each guarded by its fence; many small ones in one transaction."""

import logging
import time
from collections.abc import Callable
from typing import Any

from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import finish, give_back
from app.jobs.segment_usage import Measured, sum_of
from app.jobs.states import JobStatus
from engines.errors import ExhaustedError
from workers.attempt import Attempt
from workers.marking import marked
from workers.outputs import finish_with_outputs, finish_without_files
from workers.persistence import persist
from workers.services import Services
from workers.verdict import Canceled, Failed, Retryable, Succeeded, Superseded, Verdict, refusal

log = logging.getLogger(__name__)

PERSIST_FOR_S = 60.0  # a finished run is worth waiting for a database that restarts
FOLD_MAX = 16
FOLD_FOR_S = 0.1  # the longest that an end waits for company


def conclude(
    services: Services, attempt: Attempt, verdict: Verdict, *, segments: Measured | None = None
) -> JobStatus | None:
    """Write a verdict; None when another attempt owns the job.

    ``segments`` are what was measured by a job that is finalizing: it is charged whatever becomes
    of joining them.
    """
    claimed = attempt.claimed
    verdict = marked(services, attempt, verdict)
    try:
        status = _end(services, attempt, verdict, segments)
    except StaleFenceError as stale:
        log.warning("%s", stale)
        status = None
    log.info("%s: attempt %d ended, %s", claimed.job_id, claimed.attempt, status or "superseded")
    return status


def _end(
    services: Services, attempt: Attempt, verdict: Verdict, segments: Measured | None
) -> JobStatus | None:
    if isinstance(verdict, Succeeded) and (verdict.result.files or segments is not None):
        try:
            return finish_with_outputs(
                services,
                attempt,
                verdict,
                for_s=PERSIST_FOR_S,
                segments_us=None if segments is None else segments.wall_us,
            )
        except ExhaustedError as refused:
            verdict = refusal(refused, stop_reason=lambda: attempt.lease.stop_reason)
    return persist(lambda: _write(services, attempt, verdict, segments), for_s=PERSIST_FOR_S)


def _write(
    services: Services, attempt: Attempt, verdict: Verdict, segments: Measured | None
) -> JobStatus | None:
    claimed = attempt.claimed
    done, done_us = (sum_of(segments.reports), segments.wall_us) if segments else (None, None)
    owner: dict[str, Any] = {"job_id": claimed.job_id, "attempt": claimed.attempt}
    match verdict:
        case Succeeded():
            with services.sessions.begin() as session:
                finish_without_files(
                    session, [(attempt, verdict)], keep=services.settings.retention.outputs
                )
            return JobStatus.SUCCEEDED
        case Superseded():
            return None
        case Failed(error):
            with services.sessions.begin() as session:
                finish(session, **owner, outcome=JobStatus.FAILED, error=error)
            return JobStatus.FAILED
        case Canceled(usage):
            with services.sessions.begin() as session:
                finish(
                    session,
                    **owner,
                    outcome=JobStatus.CANCELED,
                    usage=done or usage,
                    progress=attempt.lease.progress,
                    wall_us=done_us,
                )
            return JobStatus.CANCELED
        case Retryable(error):
            with services.sessions.begin() as session:
                return give_back(session, **owner, error=error, done=done, done_us=done_us)


class Conclusions:
    """The ends of a stream of attempts, in the order they come.

    Results without files wait up to ``FOLD_FOR_S`` for one another and share a transaction, because
    a commit costs more than what is in it. Everything else is written at once. An attempt is
    closed when its end is written.
    """

    def __init__(self, services: Services, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._services = services
        self._clock = clock
        self._waiting: list[tuple[Attempt, Succeeded]] = []
        self._since = 0.0
        self.statuses: dict[str, JobStatus | None] = {}

    def add(self, attempt: Attempt, verdict: Verdict) -> None:
        """Write this end, now or together with the next ones."""
        if not isinstance(verdict, Succeeded) or verdict.result.files:
            self._conclude(attempt, verdict)
            return
        if not self._waiting:
            self._since = self._clock()
        self._waiting.append((attempt, verdict))
        if len(self._waiting) >= FOLD_MAX or self._clock() - self._since >= FOLD_FOR_S:
            self.flush()

    def flush(self) -> None:
        """Write whatever waits."""
        waiting, self._waiting = self._waiting, []
        try:
            self._flush(waiting)
        finally:
            _close(waiting)

    def abandon(self) -> None:
        """Write nothing more: the leases of what waits run out, and the jobs are run again."""
        waiting, self._waiting = self._waiting, []
        _close(waiting)

    def _flush(self, waiting: list[tuple[Attempt, Succeeded]]) -> None:
        if len(waiting) == 1:
            self._conclude(*waiting[0])
            return
        try:
            persist(lambda: self._write_together(waiting), for_s=PERSIST_FOR_S)
        except StaleFenceError as stale:
            log.warning("%s; the others are written one by one", stale)
            for attempt, verdict in waiting:
                self._conclude(attempt, verdict)
            return
        for attempt, _ in waiting:
            self.statuses[attempt.claimed.job_id] = JobStatus.SUCCEEDED
        if waiting:
            log.info("%d attempts ended together, succeeded", len(waiting))

    def _write_together(self, waiting: list[tuple[Attempt, Succeeded]]) -> None:
        with self._services.sessions.begin() as session:
            finish_without_files(session, waiting, keep=self._services.settings.retention.outputs)

    def _conclude(self, attempt: Attempt, verdict: Verdict) -> None:
        try:
            self.statuses[attempt.claimed.job_id] = conclude(self._services, attempt, verdict)
        finally:
            attempt.close()


def _close(waiting: list[tuple[Attempt, Succeeded]]) -> None:
    """Closing twice is fine."""
    for attempt, _ in waiting:
        attempt.close()
