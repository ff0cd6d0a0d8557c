"""The writer's part after the last segment: who joins them, and what if a result is gone.

Nothing here commits: the caller's transaction is the step.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.jobs import segment_statements as statements
from app.jobs.errors import StaleFenceError
from app.jobs.record import Claimed, one_row


def claim_join(session: Session, *, job_id: str, worker: str, lease_s: float) -> Claimed | None:
    """Take a job whose segments are all done, to join them: its next attempt, under a lease."""
    row = one_row(
        session.execute(
            statements.CLAIM_JOIN, {"job_id": job_id, "worker": worker, "lease_s": lease_s}
        )
    )
    return None if row is None else Claimed(**row)


def reopen(
    session: Session, *, claimed: Claimed, numbers: Sequence[int], error: Mapping[str, Any]
) -> None:
    """Let segments be computed again whose results are gone; the job is processing again.

    Raises:
        StaleFenceError: the lease was lost; the caller rolls back.
    """
    moved = session.execute(
        statements.REOPEN,
        {
            "job_id": claimed.job_id,
            "attempt": claimed.attempt,
            "numbers": list(numbers),
            "error": json.dumps(error),
        },
    ).one_or_none()
    if moved is None:
        raise StaleFenceError(job_id=claimed.job_id, attempt=claimed.attempt)
    session.execute(statements.NOTIFY)
