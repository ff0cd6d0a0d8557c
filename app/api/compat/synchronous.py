"""Submit a job, wait until it is settled, and give its row: what older clients call one request."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from flask import Response

from app.api.auth import current_principal, current_tenant
from app.api.openapi import Answers
from app.api.refusals import refusals_told
from app.api.replies import reply
from app.api.request_id import current_request_id
from app.api.services import Services, services, utc_now
from app.errors import ConflictError, InvalidRequestError, ProblemError, UnavailableError
from app.files.intake import Intake
from app.jobs import queries
from app.jobs.idempotency import Idempotency
from app.jobs.record import JobRow
from app.jobs.service import submit
from app.jobs.spec import JobRequest
from app.jobs.states import JobStatus
from app.jobs.view import job_view

WAIT_S = 60
LATER: Answers = {
    202: {
        "description": "Not finished within 60 seconds: the job, to be read at `Location`",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobObject"}}},
    }
}
_SHORT_OF_RESOURCES = frozenset({"resources_exhausted", "disk_full"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What the body of such a request amounts to."""

    job: JobRequest
    idempotency: Idempotency | None


def run_now(read: Callable[[Intake], Asked]) -> tuple[JobRow, bool]:
    """Make a job of the request at hand and wait up to ``WAIT_S`` for its settlement.

    ``read`` turns the body into a job and takes in the files that come along. Returns the job and
    whether it is settled; it is not when the time is over or too many callers already wait.
    """
    kit, now = services(), utc_now()
    session, tenant_id = kit.database.session(), current_tenant()
    with (
        refusals_told(),
        kit.desk.open(session, tenant_id=tenant_id, now=now) as intake,
        session.begin(),
    ):
        asked = read(intake)
        submitted = submit(
            session,
            catalog=kit.catalog,
            box=kit.box,
            intake=intake,
            caller=current_principal(),
            request=asked.job,
            idempotency=asked.idempotency,
            request_id=current_request_id(),
            announced=True,
            now=now,
        )
        if not submitted.created:
            intake.withdraw()
    if submitted.created:
        kit.bell.ring()
    return _settled(kit, submitted.job)


def _settled(kit: Services, job: JobRow) -> tuple[JobRow, bool]:
    job_id = job["id"]

    def settled() -> bool:
        with kit.unit_of_work() as session:
            return queries.is_settled(session, job_id=job_id)

    if not kit.settled.wait_for(job_id, settled=settled, timeout_s=WAIT_S):
        return job, False
    with kit.unit_of_work() as session:
        return queries.get(session, tenant_id=current_tenant(), job_id=job_id), True


def reply_later(job: JobRow) -> Response:
    """Answer with a job that is not settled yet."""
    document = job_view(job, links=services().links, now=utc_now())
    return reply(document, 202, {"Location": f"/v1/jobs/{job['id']}"})


def refuse_unless_succeeded(job: JobRow) -> None:
    """Answer a settled job that gave no result as a problem with the job's own code."""
    if job["status"] != JobStatus.SUCCEEDED:
        _refuse(job)


def _refuse(job: JobRow) -> NoReturn:
    error = job["error"]
    if error is None:
        detail = f"The job {job['id']} was canceled before it had a result."
        raise ConflictError(detail, code="canceled")
    code, detail = error["code"], error["detail"]
    if not error["retryable"]:
        raise InvalidRequestError(detail, code=code)
    if code in _SHORT_OF_RESOURCES:
        raise UnavailableError(detail, code=code, retry_after_s=5)
    problem = ProblemError(detail, code=code)
    problem.retryable = True
    raise problem
