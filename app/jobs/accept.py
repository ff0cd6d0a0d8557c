"""The one statement that accepts a job: idempotency key, hold and row together, or nothing.

One round trip, because the wallet's row is locked from the hold to the commit. The job is made if,
and only if, its price could be held.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.orm import Session

from app.db import as_driver_sql
from app.errors import PaymentRequiredError
from app.jobs.idempotency import Idempotency
from app.jobs.spec import JobRequest
from billing import holds
from billing.amounts import MicroTokens
from billing.errors import InsufficientTokensError
from billing.leases import LEASE
from billing.ledger import HOLD_SQL

_COLUMNS: Final = (
    "id, tenant_id, project_id, project, api_key_id, engine, model, tenant_model_id, params,"
    " inputs, priority, status, end_user, metadata, webhook, consent, use_cache, request_id,"
    " quote, hold_id, estimated_ms, start_deadline_at, max_runtime_s, attempt,"
    " progress_done, progress_total, progress_unit, event_sequence"
)
_VALUES: Final = (
    ":id, :tenant_id, :project_id, :project, :api_key_id, :engine, :model, :tenant_model_id,"
    " CAST(:params AS jsonb), CAST(:inputs AS jsonb), :priority, 'queued', :end_user,"
    " CAST(:metadata AS jsonb), CAST(:webhook AS jsonb), :consent, :use_cache, :request_id,"
    " CAST(:quote AS jsonb), :hold_id, :estimated_ms,"
    " clock_timestamp() + make_interval(secs => :start_deadline_s), :max_runtime_s,"
    " 0, 0, 0, '', 0"
)
_MADE = (
    f" made AS (INSERT INTO job ({_COLUMNS}) SELECT {_VALUES} FROM held"  # noqa: S608 - constants
    " WHERE outcome = 'placed' RETURNING created_at, start_deadline_at)"
    " SELECT outcome, available, cap, created_at, start_deadline_at"
    " FROM held LEFT JOIN made ON true"
)
_INSERT = as_driver_sql(f"WITH held AS ({HOLD_SQL}), {_MADE}")
# Of many requests with one key exactly one finds the key free; the others wait for its commit and
# then find the job.
_INSERT_ONCE = as_driver_sql(
    "WITH free AS (INSERT INTO idempotency_key (tenant_id, key, fingerprint, resource_id)"  # noqa: S608
    " VALUES (:tenant_id, :key, :fingerprint, :id) ON CONFLICT DO NOTHING RETURNING key),"
    f" held AS (SELECT hold.* FROM free, LATERAL ({HOLD_SQL}) AS hold), {_MADE}"
)
_JSON_COLUMNS: Final = ("params", "inputs", "metadata", "webhook", "quote")


def accept(
    session: Session,
    job: Mapping[str, Any],
    *,
    request: JobRequest,
    idempotency: Idempotency | None,
    amount: MicroTokens,
    now: datetime,
) -> dict[str, Any] | None:
    """Write key, hold and job and return the job's times; None when the key was taken meanwhile.

    Raises:
        PaymentRequiredError: code ``insufficient_tokens``. No job and no hold was made, but a key
            was: roll back. The same holds for the next two.
        CapReachedError: a cap leaves less than the price.
        FrozenWalletError: the tenant is frozen.
    """
    waiting = timedelta(seconds=(request.start_deadline_s or 0) + 3 * (request.max_runtime_s or 0))
    values = dict(job, start_deadline_s=request.start_deadline_s)
    for name in _JSON_COLUMNS:
        values[name] = None if job[name] is None else json.dumps(job[name], allow_nan=False)
    values |= {
        "tenant": job["tenant_id"],
        "hold": job["hold_id"],
        "job": job["id"],
        "amount": amount,
        "expires_at": now + LEASE + waiting,
        "now": None,
    }
    statement = _INSERT
    if idempotency is not None:
        statement = _INSERT_ONCE
        values |= {"key": idempotency.key, "fingerprint": idempotency.fingerprint}
    row = session.connection().exec_driver_sql(statement, values).one_or_none()
    if row is None:
        return None
    _check_hold(row, job=job, amount=amount)
    return {"created_at": row.created_at, "start_deadline_at": row.start_deadline_at}


def _check_hold(row: Row[Any], *, job: Mapping[str, Any], amount: MicroTokens) -> None:
    try:
        holds.judge(
            row.outcome,
            row.available,
            cap=row.cap,
            tenant=job["tenant_id"],
            job=job["id"],
            amount=amount,
        )
    except InsufficientTokensError as error:
        raise PaymentRequiredError(error.detail, code=error.code) from error
