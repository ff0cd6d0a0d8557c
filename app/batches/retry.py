"""Another batch of what failed in one: a batch itself ends once and stays as it was told.

The new batch keeps the places in the caller's list, the webhooks and the discount of the first.
Prices are those of now.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import RowMapping, select, text
from sqlalchemy.orm import Session

from app.batches.models import Batch
from app.batches.queries import get
from app.batches.service import Order
from app.catalog.service import Catalog
from app.errors import ConflictError
from app.estimates.pricing import price_together, refusal
from app.files.intake import Intake
from app.jobs.spec import JobRequest
from app.tenants.service import Principal

# Items that were wrong in themselves would be wrong again; those that were canceled were meant so.
_FAILED: Final = text(
    """
    SELECT i.position, coalesce(i.priced, to_jsonb(j)) AS job,
           extract(epoch FROM j.start_deadline_at - j.created_at) AS waited_s
      FROM batch_item i LEFT JOIN job j ON j.id = i.job_id
     WHERE i.batch_id = :batch_id
       AND (i.state = 'refused' OR j.status IN ('failed', 'expired'))
     ORDER BY i.position
    """
)


@dataclass(frozen=True, slots=True)
class _Again:
    position: int
    request: JobRequest
    webhook: Mapping[str, Any] | None


def retried(
    session: Session,
    *,
    catalog: Catalog,
    intake: Intake,
    caller: Principal,
    batch_id: str,
    request_id: str | None,
) -> Order:
    """What ``service.create`` makes a batch of: the failed items of a finished one, priced anew.

    Raises:
        NotFoundError: code ``batch_not_found``.
        ConflictError: ``batch_not_finished``, ``batch_retried`` or ``nothing_to_retry``.
        InvalidRequestError: not one of them can be had any more; the reason is that of the first.
    """
    batch = _finished(session, intake.tenant_id, batch_id)
    failed = [_again(row) for row in session.execute(_FAILED, {"batch_id": batch_id}).mappings()]
    if not failed:
        detail = "No item of the batch failed; there is nothing to try again."
        raise ConflictError(detail, code="nothing_to_retry")
    good, bad = price_together(
        session,
        catalog=catalog,
        intake=intake,
        caller=caller,
        requests=[(each.position, each.request) for each in failed],
        batch_items=batch.priced_for,
        now=intake.now,
    )
    if not good:
        raise refusal(bad, of=len(failed))
    return Order(
        total=len(failed),
        items=good,
        bad=bad,
        priced_for=batch.priced_for,
        webhook=batch.webhook,
        request_id=request_id,
        retry_of=batch_id,
        job_webhooks={each.position: each.webhook for each in failed},
    )


def _finished(session: Session, tenant_id: str, batch_id: str) -> Batch:
    """The batch, locked, so that it is tried again once."""
    batch = get(session, tenant_id=tenant_id, batch_id=batch_id)
    session.refresh(batch, with_for_update=True)
    if batch.finished_at is None:
        detail = "The batch has not finished. Wait for batch.completed, then try again what failed."
        raise ConflictError(detail, code="batch_not_finished")
    successor = session.scalar(select(Batch.id).where(Batch.retry_of == batch_id))
    if successor is not None:
        detail = f"The batch was tried again as {successor}; try that one again."
        raise ConflictError(detail, code="batch_retried")
    return batch


def _again(row: RowMapping) -> _Again:
    """The request of an earlier job, from the columns that it became."""
    job = row["job"]
    deadline_s = job.get("start_deadline_s", row["waited_s"])
    request = JobRequest.model_validate(
        {
            "engine": job["engine"],
            "model": job["model"],
            "input": {
                "target": {"file": job["inputs"]["target"]},
                "source": [{"file": file_id} for file_id in job["inputs"]["source"]],
            },
            "params": job["params"],
            "priority": job["priority"],
            "start_deadline_s": None if deadline_s is None else round(deadline_s),
            "max_runtime_s": job["max_runtime_s"],
            "segments": job["segments_wanted"],
            "project": job["project"],
            "user": job["end_user"],
            "metadata": job["metadata"],
            "cache": job["use_cache"],
            "consent": job["consent"],
        }
    )
    return _Again(row["position"], request, job["webhook"])
