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

# What price and caller say of a new job, by column and type; the rest is the same for all.
_GIVEN: Final[Mapping[str, str]] = {
    "id": "varchar",
    "tenant_id": "varchar",
    "project_id": "varchar",
    "project": "varchar",
    "api_key_id": "varchar",
    "batch_id": "varchar",
    "engine": "varchar",
    "model": "varchar",
    "tenant_model_id": "varchar",
    "params": "jsonb",
    "inputs": "jsonb",
    "priority": "varchar",
    "end_user": "varchar",
    "metadata": "jsonb",
    "webhook": "jsonb",
    "consent": "boolean",
    "consent_basis": "varchar",
    "use_cache": "boolean",
    "request_id": "varchar",
    "quote": "jsonb",
    "hold_id": "varchar",
    "estimated_ms": "integer",
    "max_runtime_s": "integer",
    "segments_wanted": "integer",
}
_DEADLINE: Final = "clock_timestamp() + make_interval(secs => {})"
_NEW: Final[Mapping[str, str]] = {
    "status": "'queued'",
    "attempt": "0",
    "progress_done": "0",
    "progress_total": "0",
    "progress_unit": "''",
    "event_sequence": "0",
}
_JSON_COLUMNS: Final = tuple(name for name, kind in _GIVEN.items() if kind == "jsonb")
_COLUMNS: Final = ", ".join((*_GIVEN, *_NEW, "start_deadline_at"))
_VALUES: Final = ", ".join(
    (
        *(
            f"CAST(:{name} AS jsonb)" if kind == "jsonb" else f":{name}"
            for name, kind in _GIVEN.items()
        ),
        *_NEW.values(),
        _DEADLINE.format(":start_deadline_s"),
    )
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
# For the statement that makes many jobs at once, see ``app.batches.opening``: the columns of what
# ``waiting_job`` keeps as JSON, and the insert of those that the query ``held`` placed.
WAITING_COLUMNS: Final = ", ".join(
    (
        *(f"{name} {kind}" for name, kind in _GIVEN.items()),
        "start_deadline_s double precision",
        "hold_expires_at timestamptz",
    )
)
MAKE_HELD: Final = (
    f"INSERT INTO job ({_COLUMNS})"  # noqa: S608 - constants
    f" SELECT {', '.join((*_GIVEN, *_NEW.values(), _DEADLINE.format('start_deadline_s')))}"
    " FROM held WHERE outcome = 'placed'"
)


def waiting_job(job: Mapping[str, Any], *, request: JobRequest, now: datetime) -> dict[str, Any]:
    """A priced job as JSON that a later statement makes: the very same job, whoever runs it."""
    return {
        **job,
        "start_deadline_s": request.start_deadline_s,
        "hold_expires_at": hold_expiry(request, now=now).isoformat(),
    }


def hold_expiry(request: JobRequest, *, now: datetime) -> datetime:
    """How long a hold may stand without a sign of life of its job."""
    waiting_s = (request.start_deadline_s or 0) + 3 * (request.max_runtime_s or 0)
    return now + LEASE + timedelta(seconds=waiting_s)


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
    values = dict(job, start_deadline_s=request.start_deadline_s)
    for name in _JSON_COLUMNS:
        values[name] = None if job[name] is None else json.dumps(job[name], allow_nan=False)
    values |= {
        "tenant": job["tenant_id"],
        "hold": job["hold_id"],
        "job": job["id"],
        "amount": amount,
        "expires_at": hold_expiry(request, now=now),
        "now": None,
    }
    statement = _INSERT
    if idempotency is not None:
        statement = _INSERT_ONCE
        values |= {"key": idempotency.key, "fingerprint": idempotency.fingerprint}
    row = session.connection().exec_driver_sql(statement, values).one_or_none()
    if row is None:
        return None
    check_hold(row, tenant_id=job["tenant_id"], job_id=job["id"], amount=amount)
    return {"created_at": row.created_at, "start_deadline_at": row.start_deadline_at}


def check_hold(row: Row[Any], *, tenant_id: str, job_id: str, amount: MicroTokens) -> None:
    """Refuse as ``accept`` does when a hold was not placed."""
    try:
        holds.judge(
            row.outcome,
            row.available,
            cap=row.cap,
            tenant=tenant_id,
            job=job_id,
            amount=amount,
        )
    except InsufficientTokensError as error:
        raise PaymentRequiredError(error.detail, code=error.code) from error
