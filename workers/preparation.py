"""Plans that a job's model lacks are built while the job is still ``starting``.

A build can take minutes. The job's lease is renewed meanwhile, so nobody else takes it; a customer
sees ``starting``, and ``processing`` once the engine works on pixels. The time counts towards the
job's ``max_runtime_s``: whoever wants none of it builds plans ahead.
"""

import logging
from datetime import UTC, datetime

from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import advance_many
from app.jobs.states import JobStatus
from workers.announcement import announce_starts
from workers.attempt import Attempt
from workers.persistence import persist
from workers.services import Services
from workers.verdict import Superseded, Verdict, refusal

log = logging.getLogger(__name__)

BEGIN_FOR_S = 5.0


def prepare(services: Services, attempt: Attempt) -> Verdict | None:
    """Build what is missing, then let the job begin; None: it has, else what came of it."""
    claimed = attempt.claimed
    try:
        attempt.context.checkpoint()
        services.readiness.make_ready(services.registry, claimed.engine, claimed.model)
        attempt.context.checkpoint()
    except Exception as error:  # noqa: BLE001 - it is judged and logged like any other of a run
        return refusal(error, stop_reason=lambda: attempt.lease.stop_reason)
    try:
        persist(lambda: _begin(services, attempt), for_s=BEGIN_FOR_S)
    except StaleFenceError as stale:
        log.warning("%s", stale)
        return Superseded()
    return None


def _begin(services: Services, attempt: Attempt) -> None:
    with services.relaxed.begin() as session:
        advance_many(session, claims=[attempt.claimed], to=JobStatus.PROCESSING)
        announce_starts(session, [attempt.claimed], links=services.links, now=datetime.now(UTC))
