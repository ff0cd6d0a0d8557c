"""The customer's half of the one writer of jobs: submit and cancel.

With ``app.jobs.lifecycle`` (what workers and time do) this is *the writer*: nothing else changes a
job. Nothing here commits: the caller's transaction is the step, and ``submit`` wants its commit at
once, because the wallet's row is locked from the hold to the commit.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import event, text
from sqlalchemy.orm import Session

from app.catalog.service import Catalog
from app.errors import (
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PaymentRequiredError,
)
from app.files.intake import Intake
from app.ids import new_id
from app.jobs.bell import JobBell
from app.jobs.ending import book_usage
from app.jobs.idempotency import Idempotency, find_replay
from app.jobs.pricing import Estimate, check_token_quota, estimate, quote_facts
from app.jobs.record import JobRow, one_row
from app.jobs.spec import JobRequest, JobWebhook
from app.jobs.states import JobStatus
from app.secret_box import SecretBox
from app.tenants.service import Principal, ensure_project
from billing import holds
from billing.amounts import MicroTokens
from billing.errors import InsufficientTokensError

# A hold ends with its job; this only bounds one whose job was lost to a bug.
HOLD_LIFETIME: Final = timedelta(days=7)

_COLUMNS: Final = (
    "id, tenant_id, project_id, project, api_key_id, engine, model, params, inputs, priority,"
    " status, end_user, metadata, webhook, consent, request_id, quote, hold_id, estimated_ms,"
    " start_deadline_at, max_runtime_s, attempt, progress_done, progress_total, progress_unit,"
    " event_sequence"
)
_VALUES: Final = (
    ":id, :tenant_id, :project_id, :project, :api_key_id, :engine, :model,"
    " CAST(:params AS jsonb), CAST(:inputs AS jsonb), :priority, 'queued', :end_user,"
    " CAST(:metadata AS jsonb), CAST(:webhook AS jsonb), :consent, :request_id,"
    " CAST(:quote AS jsonb), :hold_id, :estimated_ms,"
    " clock_timestamp() + make_interval(secs => :start_deadline_s), :max_runtime_s,"
    " 0, 0, 0, '', 0"
)
_INSERT = text(
    f"INSERT INTO job ({_COLUMNS}) VALUES ({_VALUES})"  # noqa: S608 - constants
    " RETURNING created_at, start_deadline_at"
)
# One statement for key and job: of many requests with one key exactly one finds the key free; the
# others wait for its commit and then find the job.
_INSERT_ONCE = text(
    "WITH free AS (INSERT INTO idempotency_key (tenant_id, key, fingerprint, resource_id)"  # noqa: S608
    " VALUES (:tenant_id, :key, :fingerprint, :id) ON CONFLICT DO NOTHING RETURNING key)"
    f" INSERT INTO job ({_COLUMNS}) SELECT {_VALUES} FROM free"
    " RETURNING created_at, start_deadline_at"
)
_NOTIFY_JOBS = text("SELECT pg_notify('pixelmeter_jobs', '')")
_JSON_COLUMNS: Final = ("params", "inputs", "metadata", "webhook", "quote")
# What a queued job has not got yet.
_BLANK: Final[Mapping[str, Any]] = {
    "status": JobStatus.QUEUED.value,
    "dispatched_at": None,
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "settled_at": None,
    "attempt": 0,
    "lease_owner": None,
    "lease_expires_at": None,
    "cancel_requested_at": None,
    "progress_done": 0,
    "progress_total": 0,
    "progress_unit": "",
    "progress_fps": None,
    "output": None,
    "error": None,
    "usage": None,
    "event_sequence": 0,
}

_CANCEL = text(
    """
    UPDATE job SET
        status = CASE status WHEN 'queued' THEN 'canceled' ELSE status END,
        finished_at = CASE status WHEN 'queued' THEN clock_timestamp() END,
        cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())
    WHERE id = :job_id AND tenant_id = :tenant_id AND finished_at IS NULL
    RETURNING *
    """
)
_OWN = text("SELECT * FROM job WHERE id = :job_id AND tenant_id = :tenant_id")


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job that stands; ``created`` is False when an earlier request with the same key made it."""

    job: JobRow
    created: bool


def submit(
    session: Session,
    *,
    catalog: Catalog,
    box: SecretBox,
    intake: Intake,
    caller: Principal,
    request: JobRequest,
    idempotency: Idempotency | None = None,
    request_id: str | None = None,
    bell: JobBell | None = None,
    now: datetime,
) -> Submitted:
    """Price a job, hold its price and queue it: one transaction, committed by the caller.

    The dispatcher is told by the commit itself, or, with a ``bell``, right after it: cheaper where
    many commit at once, see ``app.jobs.bell``.

    Raises:
        PaymentRequiredError: ``insufficient_tokens`` or ``token_quota_exceeded``.
        ConflictError: ``idempotency_mismatch``.
        ProblemError: everything else that is wrong with the request, before anything is written.
    """
    if idempotency is not None:
        earlier = find_replay(session, tenant_id=intake.tenant_id, idempotency=idempotency)
        if earlier is not None:
            return Submitted(job=earlier, created=False)
    _check_caller(catalog, caller, request)
    found = estimate(session, catalog=catalog, intake=intake, request=request, now=now)
    catalog.require_weights(found.prepared.model)
    check_token_quota(found.quote, request.token_quota)
    job = _values(session, box=box, caller=caller, request=request, found=found)
    job["request_id"] = request_id
    stamped = _insert(session, job, request=request, idempotency=idempotency)
    if stamped is None:
        return _replayed(session, intake=intake, idempotency=idempotency)
    if bell is None:
        session.execute(_NOTIFY_JOBS)
    _hold(session, job, request=request, amount=found.quote.amount, now=now)
    if bell is not None:
        event.listen(session, "after_commit", lambda _: bell.ring(), once=True)
    return Submitted(job={**_BLANK, **job, **stamped}, created=True)


def request_cancel(session: Session, *, tenant_id: str, job_id: str) -> JobRow:
    """Cancel a queued job at once; ask the worker of a running one to stop within a second.

    Asking twice is fine. A queued job that is canceled costs nothing.

    Raises:
        NotFoundError: unknown, or another tenant's.
        ConflictError: code ``job_finished``; there is nothing left to cancel.
    """
    who = {"job_id": job_id, "tenant_id": tenant_id}
    row = one_row(session.execute(_CANCEL, who))
    if row is not None:
        if row["status"] == JobStatus.CANCELED:
            book_usage(session, ended=row)
        return row
    ended = one_row(session.execute(_OWN, who))
    if ended is None:
        raise NotFoundError("There is no such job.", code="job_not_found")
    if ended["status"] != JobStatus.CANCELED:
        raise ConflictError(
            f"The job has already {ended['status']}; there is nothing to cancel.",
            code="job_finished",
        )
    return ended


def _check_caller(catalog: Catalog, caller: Principal, request: JobRequest) -> None:
    if caller.project is not None and request.project not in {None, caller.project}:
        raise ForbiddenError(
            f"This API key belongs to the project {caller.project!r}. Leave out `project`.",
            code="foreign_project",
        )
    if caller.consent_mode == "contract" or request.consent:
        return
    if catalog.needs_consent(request.engine):
        raise InvalidRequestError(
            'Send "consent": true to state that the persons shown agreed to this use.',
            code="consent_required",
            errors=[FieldError("/consent", "must be true for this engine")],
        )


def _values(
    session: Session, *, box: SecretBox, caller: Principal, request: JobRequest, found: Estimate
) -> dict[str, Any]:
    project, project_id = caller.project, caller.project_id
    tenant_id = found.files.target.tenant_id
    if project_id is None and request.project is not None:
        project = request.project
        project_id = ensure_project(session, tenant_id=tenant_id, name=project)
    return {
        "id": new_id("job"),
        "tenant_id": tenant_id,
        "project_id": project_id,
        "project": project,
        "api_key_id": caller.key_id,
        "engine": found.prepared.engine,
        "model": found.prepared.model.id,
        "params": found.prepared.params,
        "inputs": found.files.ids(),
        "priority": request.priority,
        "end_user": request.user,
        "metadata": request.metadata,
        "webhook": _webhook(request.webhook, box),
        "consent": request.consent,
        "quote": quote_facts(found.quote),
        "hold_id": new_id("hold"),
        "estimated_ms": found.prepared.estimated_ms,
        "max_runtime_s": request.max_runtime_s,
    }


def _webhook(webhook: JobWebhook | None, box: SecretBox) -> dict[str, Any] | None:
    """The address as it is kept; its secret is encrypted, and null means the tenant's."""
    if webhook is None:
        return None
    sealed = None if webhook.secret is None else base64.b64encode(box.encrypt(webhook.secret))
    return {
        "url": webhook.url,
        "events": list(webhook.events),
        "secret": None if sealed is None else sealed.decode(),
    }


def _insert(
    session: Session,
    job: Mapping[str, Any],
    *,
    request: JobRequest,
    idempotency: Idempotency | None,
) -> dict[str, Any] | None:
    """Write key and job; None when the key was taken meanwhile."""
    values = dict(job, start_deadline_s=request.start_deadline_s)
    for name in _JSON_COLUMNS:
        values[name] = None if job[name] is None else json.dumps(job[name], allow_nan=False)
    statement = _INSERT
    if idempotency is not None:
        statement = _INSERT_ONCE
        values |= {"key": idempotency.key, "fingerprint": idempotency.fingerprint}
    return one_row(session.execute(statement, values))


def _replayed(session: Session, *, intake: Intake, idempotency: Idempotency | None) -> Submitted:
    """The job of the request that was quicker; what this one brought along goes again."""
    assert idempotency is not None  # noqa: S101 - only a key can be taken
    intake.withdraw()
    job = find_replay(session, tenant_id=intake.tenant_id, idempotency=idempotency)
    if job is None:
        raise ConflictError(
            "Another request with this Idempotency-Key is being handled. Send it again.",
            code="idempotency_in_progress",
        )
    return Submitted(job=job, created=False)


def _hold(
    session: Session,
    job: Mapping[str, Any],
    *,
    request: JobRequest,
    amount: MicroTokens,
    now: datetime,
) -> None:
    waiting = timedelta(seconds=(request.start_deadline_s or 0) + 3 * (request.max_runtime_s or 0))
    try:
        holds.place(
            session,
            tenant=job["tenant_id"],
            hold_id=job["hold_id"],
            job=job["id"],
            amount=amount,
            expires_at=now + HOLD_LIFETIME + waiting,
        )
    except InsufficientTokensError as error:
        raise PaymentRequiredError(error.detail, code=error.code) from error
