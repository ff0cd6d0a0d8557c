"""The customer's half of the writer of batches: create and cancel.

``app.batches.opening`` makes the jobs, ``app.batches.completion`` ends the batch, and
``app.batches.retry`` makes another one of what failed. Nothing here commits.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import insert, text
from sqlalchemy.orm import Session

from app.batches.models import Batch, BatchItem, ItemState
from app.batches.queries import get
from app.errors import ConflictError, PaymentRequiredError
from app.estimates.pricing import BadItem, Item, check_ceiling
from app.files.intake import Intake
from app.files.service import keep_until
from app.ids import new_id
from app.jobs.accept import waiting_job
from app.jobs.service import job_values, project_of
from app.secret_box import SecretBox
from app.tenants.service import Principal
from billing.amounts import MicroTokens, to_number
from billing.wallets import balance

# Until its jobs are made nothing else keeps the inputs; a sweeper that comes late finds them.
WAITING_FOR: Final = timedelta(hours=6)

_KEEP = text(
    """
    INSERT INTO batch_item (batch_id, position, state, engine, model, tokens, priced)
    SELECT :batch_id, item.position, 'waiting', item.job ->> 'engine', item.job ->> 'model',
           CAST(item.job -> 'quote' ->> 'micro_tokens' AS bigint), item.job
      FROM jsonb_to_recordset(CAST(:items AS jsonb)) item (position integer, job jsonb)
    """
)
_CANCEL = text(
    "UPDATE batch SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())"
    " WHERE id = :batch_id AND tenant_id = :tenant_id AND finished_at IS NULL RETURNING id"
)
# Waits for a chunk that is being made; its jobs are then seen by the next statement.
_CANCEL_WAITING = text(
    "UPDATE batch_item SET state = 'canceled', priced = NULL"
    " WHERE batch_id = :batch_id AND state = 'waiting'"
)


@dataclass(frozen=True, slots=True)
class Order:
    """What a batch is made of, checked and priced."""

    total: int  # items in the caller's list
    items: Sequence[Item]
    bad: Sequence[BadItem]  # left out
    priced_for: int  # items that the batch discount counted
    max_tokens: MicroTokens | None = None
    forecast: Mapping[str, Any] | None = None
    webhook: Mapping[str, Any] | None = None  # sealed, as in ``job.webhook``
    request_id: str | None = None
    retry_of: str | None = None
    # Of jobs that are tried again: their own webhooks, sealed, by position.
    job_webhooks: Mapping[int, Mapping[str, Any] | None] | None = None


def create(
    session: Session, *, box: SecretBox, intake: Intake, caller: Principal, order: Order
) -> str:
    """Keep a priced batch whose jobs ``opening.make_jobs`` then makes; returns its id.

    Raises:
        PaymentRequiredError: ``token_quota_exceeded`` or ``insufficient_tokens``, with the figures
            of the whole batch.
    """
    quoted = check_ceiling(order.items, order.max_tokens)
    _check_balance(session, intake, quoted, items=len(order.items))
    batch_id = new_id("batch")
    session.execute(
        insert(Batch).values(
            id=batch_id,
            tenant_id=intake.tenant_id,
            api_key_id=caller.key_id,
            total=order.total,
            priced_for=order.priced_for,
            tokens_quoted=quoted,
            forecast=order.forecast,
            webhook=order.webhook,
            retry_of=order.retry_of,
        )
    )
    jobs = _jobs(session, order, batch_id=batch_id, box=box, intake=intake, caller=caller)
    _keep_items(session, batch_id, jobs)
    _keep_bad(session, batch_id, order.bad)
    files = {file for item in order.items for file in item.files}
    keep_until(session, file_ids=sorted(files), until=intake.now + WAITING_FOR)
    return batch_id


def request_cancel(session: Session, *, tenant_id: str, batch_id: str) -> None:
    """Make no more jobs of this batch; ``app.jobs.canceling`` ends those that are made.

    Asking twice is fine, also after the end.

    Raises:
        NotFoundError: code ``batch_not_found``.
        ConflictError: code ``batch_finished``; it ended without being canceled.
    """
    who = {"batch_id": batch_id, "tenant_id": tenant_id}
    if session.execute(_CANCEL, who).one_or_none() is None:
        ended = get(session, tenant_id=tenant_id, batch_id=batch_id)
        if ended.cancel_requested_at is not None:
            return
        detail = "The batch has finished; there is nothing to cancel."
        raise ConflictError(detail, code="batch_finished")
    session.execute(_CANCEL_WAITING, {"batch_id": batch_id})


def _check_balance(session: Session, intake: Intake, quoted: MicroTokens, *, items: int) -> None:
    """Refuse what could never be held as a whole, before anything is."""
    wallet = balance(session, intake.tenant_id, now=intake.now)
    spendable = wallet.available + wallet.credit
    if quoted > spendable:
        detail = (
            f"The {items} items are quoted at {to_number(quoted)} tokens together and the wallet "
            f"has {to_number(MicroTokens(spendable))}: {to_number(MicroTokens(quoted - spendable))}"
            " are missing. Nothing was held. Top up, or send fewer items."
        )
        raise PaymentRequiredError(detail, code="insufficient_tokens")


def _jobs(
    session: Session,
    order: Order,
    *,
    batch_id: str,
    box: SecretBox,
    intake: Intake,
    caller: Principal,
) -> list[tuple[int, dict[str, Any]]]:
    """The jobs as they will be, by position."""
    projects: dict[str | None, tuple[str | None, str | None]] = {}
    jobs = []
    for item in order.items:
        request = item.request
        if request.project not in projects:
            projects[request.project] = project_of(
                session, caller, request, tenant_id=intake.tenant_id
            )
        values = job_values(
            box=box,
            caller=caller,
            project=projects[request.project],
            request=request,
            found=item.found,
            request_id=order.request_id,
            batch_id=batch_id,
        )
        if order.job_webhooks is not None:
            values["webhook"] = order.job_webhooks[item.position]
        jobs.append((item.position, waiting_job(values, request=request, now=intake.now)))
    return jobs


def _keep_items(
    session: Session, batch_id: str, jobs: Sequence[tuple[int, dict[str, Any]]]
) -> None:
    """One text of JSON: to write it as an array of PostgreSQL would escape every quote again."""
    items = [{"position": position, "job": job} for position, job in jobs]
    values = {"batch_id": batch_id, "items": json.dumps(items, allow_nan=False)}
    session.execute(_KEEP, values)


def _keep_bad(session: Session, batch_id: str, bad: Sequence[BadItem]) -> None:
    if not bad:
        return
    rows = [
        {
            "batch_id": batch_id,
            "position": each.position,
            "state": ItemState.INVALID.value,
            "error_code": each.code,
            "error_detail": each.detail,
        }
        for each in bad
    ]
    session.execute(insert(BatchItem), rows)
