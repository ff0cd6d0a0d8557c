"""The customer's half of the one writer of jobs: submit and cancel.

With ``app.jobs.lifecycle`` (what workers and time do) this is *the writer*: nothing else changes a
job. Nothing here commits: the caller's transaction is the step, and ``submit`` wants its commit at
once, because the wallet's row is locked from the hold to the commit.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
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
)
from app.files.intake import Intake
from app.ids import new_id
from app.jobs.accept import accept
from app.jobs.bell import JobBell
from app.jobs.ending import book_usage
from app.jobs.idempotency import Idempotency, find_replay
from app.jobs.inputs import brings_files
from app.jobs.pricing import Estimate, check_token_quota, estimate, quote_facts
from app.jobs.record import JobRow, one_row
from app.jobs.spec import BatchWebhook, JobRequest, JobWebhook
from app.jobs.states import JobStatus
from app.secret_box import SecretBox
from app.tenants.service import Principal, ensure_project

_NOTIFY_JOBS = text("SELECT pg_notify('pixelmeter_jobs', '')")
# What a queued job has not got yet.
_BLANK: Final[Mapping[str, Any]] = {
    "status": JobStatus.QUEUED.value,
    "dispatched_at": None,
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "settled_at": None,
    "segments": None,
    "segments_done": 0,
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
    announced: bool = False,
    batch_items: int = 1,
    now: datetime,
) -> Submitted:
    """Price a job, hold its price and queue it: one transaction, committed by the caller.

    The dispatcher is told by the commit itself, or, with a ``bell``, right after it: cheaper where
    many commit at once, see ``app.jobs.bell``. With ``announced`` the caller rings it himself.
    ``batch_items`` is how many jobs come together, for cards that give a batch discount.

    Raises:
        PaymentRequiredError: ``insufficient_tokens`` or ``token_quota_exceeded``.
        CapReachedError: a cap leaves less than the price in its window.
        FrozenWalletError: the tenant is frozen.
        ConflictError: ``idempotency_mismatch``.
        ProblemError: everything else that is wrong with the request, before anything is written.
    """
    if idempotency is not None:
        earlier = find_replay(session, tenant_id=intake.tenant_id, idempotency=idempotency)
        if earlier is not None:
            return Submitted(job=earlier, created=False)
    check_caller(catalog, caller, request)
    found = estimate(
        session,
        catalog=catalog,
        intake=intake,
        request=request,
        batch_items=batch_items,
        now=now,
    )
    if found.own_model_id is None:
        catalog.require_weights(found.prepared.model)
    check_token_quota(found.quote, request.token_quota)
    job = job_values(
        box=box,
        caller=caller,
        project=project_of(session, caller, request, tenant_id=intake.tenant_id),
        request=request,
        found=found,
        request_id=request_id,
    )
    if bell is None and not announced:
        session.execute(_NOTIFY_JOBS)
    stamped = accept(
        session,
        job,
        request=request,
        idempotency=idempotency,
        amount=found.quote.amount,
        now=now,
    )
    if stamped is None:
        return _replayed(session, intake=intake, idempotency=idempotency)
    if bell is not None:
        event.listen(session, "after_commit", lambda _: bell.ring(), once=True)
    return Submitted(job={**_BLANK, **job, **stamped}, created=True)


def writes_once(request: JobRequest, idempotency: Idempotency | None) -> bool:
    """Whether ``submit`` writes by one statement alone, which then may be its own transaction.

    Files that come along, a project named for the first time and an idempotency key that must go
    again with a refusal are more than that.
    """
    return idempotency is None and request.project is None and not brings_files(request.input)


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


def check_caller(catalog: Catalog, caller: Principal, request: JobRequest) -> None:
    """Refuse what this caller may not ask for: ``foreign_project``, ``consent_required``."""
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


def consent_basis(caller: Principal, request: JobRequest) -> str:
    """Why a job may use the faces of others: its request says they agreed, or a contract does."""
    return "request" if request.consent else caller.consent_mode


def project_of(
    session: Session, caller: Principal, request: JobRequest, *, tenant_id: str
) -> tuple[str | None, str | None]:
    """Name and id of the project that a job counts for; named for the first time, it is made."""
    if caller.project_id is not None or request.project is None:
        return caller.project, caller.project_id
    return request.project, ensure_project(session, tenant_id=tenant_id, name=request.project)


def job_values(
    *,
    box: SecretBox,
    caller: Principal,
    project: tuple[str | None, str | None],
    request: JobRequest,
    found: Estimate,
    request_id: str | None,
    batch_id: str | None = None,
) -> dict[str, Any]:
    """The columns of a new job, with fresh ids of it and its hold."""
    return {
        "id": new_id("job"),
        "tenant_id": found.files.target.tenant_id,
        "project_id": project[1],
        "project": project[0],
        "api_key_id": caller.key_id,
        "batch_id": batch_id,
        "engine": found.prepared.engine,
        "model": found.prepared.model.id,
        "tenant_model_id": found.own_model_id,
        "params": found.prepared.params,
        "inputs": found.files.ids(),
        "priority": request.priority,
        "end_user": request.user,
        "metadata": request.metadata,
        "webhook": sealed_webhook(request.webhook, box),
        "consent": request.consent,
        "consent_basis": consent_basis(caller, request) if found.files.sources else None,
        "use_cache": request.cache,
        "request_id": request_id,
        "quote": quote_facts(found.quote),
        "hold_id": new_id("hold"),
        "estimated_ms": found.prepared.estimated_ms,
        "max_runtime_s": request.max_runtime_s,
        "segments_wanted": request.segments,
    }


def sealed_webhook(
    webhook: JobWebhook | BatchWebhook | None, box: SecretBox
) -> dict[str, Any] | None:
    """The address as it is kept; its secret is encrypted, and null means the tenant's."""
    if webhook is None:
        return None
    sealed = None if webhook.secret is None else base64.b64encode(box.encrypt(webhook.secret))
    return {
        "url": webhook.url,
        "events": list(webhook.events),
        "secret": None if sealed is None else sealed.decode(),
    }


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
