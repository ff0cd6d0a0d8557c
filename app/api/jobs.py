"""``/v1/jobs``: submit, read, list, cancel.

Everything that decides is in ``app.jobs``; here a request becomes its arguments and a row an
answer. The accept path is measured by ``tests/bench/bench_accept.py``.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, BinaryIO, cast

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy.orm import Session

from app.api.auth import current_principal, current_tenant
from app.api.idempotency import requested
from app.api.job_filters import JobListQuery
from app.api.openapi import Answers, described_body
from app.api.parts import is_multipart, one_file, one_text, only_parts
from app.api.refusals import refusals_told
from app.api.replies import reply
from app.api.request_id import current_request_id
from app.api.schemas import JobList, JobObject
from app.api.services import Services, services, utc_now
from app.api.validation import validated
from app.api.waiting import preferred_wait_s
from app.errors import InvalidRequestError
from app.files.intake import Intake
from app.jobs import queries
from app.jobs.idempotency import Idempotency
from app.jobs.record import JobRow
from app.jobs.service import Submitted, request_cancel, submit, writes_once
from app.jobs.spec import JobInput, JobRequest, Ref
from app.jobs.view import job_view
from app.json_body import load_object

blueprint = APIBlueprint("jobs", __name__, url_prefix="/v1/jobs", tag="Jobs")

BINARY = {"type": "string", "format": "binary"}
JOB_REFERENCE = {"$ref": "#/components/schemas/JobRequest"}
WAITED_FOR: Answers = {
    200: {
        "description": "With `Prefer: wait=N`: the job, finished and settled",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobObject"}}},
    }
}
# The one statement of such a job is its own transaction: no round trips for BEGIN and COMMIT.
OWN_TRANSACTION = {"isolation_level": "AUTOCOMMIT"}
# Stands for the parts while the rest of the job is checked, before any byte is stored.
PENDING = {"file": "the part that follows"}


@blueprint.post("")
@blueprint.output(JobObject, status_code=202)
@blueprint.doc(
    responses=WAITED_FOR,
    extensions=described_body(
        json_schema=JOB_REFERENCE,
        parts={
            "target": BINARY,
            "source": {"type": "array", "items": BINARY},
            "job": JOB_REFERENCE,
        },
        required=["target", "job"],
    ),
)
def create() -> Response:
    """Price a job, hold its price and queue it.

    `Prefer: wait=N` (at most 60 seconds) answers 200 with the finished job when it is settled in
    time, else 202 as without it.
    """
    kit, now = services(), utc_now()
    session = kit.database.session()
    tenant_id = current_tenant()
    with (
        refusals_told(),
        kit.desk.open(session, tenant_id=tenant_id, now=now) as intake,
        session.begin(),
    ):
        submitted = _submit(kit, session, intake, now=now)
    if submitted.created:
        kit.bell.ring()
        if kit.balances.enabled:
            with kit.unit_of_work() as reading:
                kit.balances.refresh(reading, tenant_id)
    job = submitted.job
    wait_s = preferred_wait_s(request.headers.get("Prefer"))
    if wait_s and _settled_in_time(kit, job["id"], wait_s):
        return _settled_reply(kit, job["id"], wait_s)
    return reply(job_view(job, links=kit.links, now=now), 202, _headers(job, submitted, wait_s))


def _submit(kit: Services, session: Session, intake: Intake, *, now: datetime) -> Submitted:
    if is_multipart():
        job, key = _from_parts(intake)
    else:
        document = request.get_json()
        job, key = validated(JobRequest, document), requested(document)
        if writes_once(job, key):
            session.connection(execution_options=OWN_TRANSACTION)
    submitted = submit(
        session,
        catalog=kit.catalog,
        box=kit.box,
        intake=intake,
        caller=current_principal(),
        request=job,
        idempotency=key,
        request_id=current_request_id(),
        announced=True,
        now=now,
    )
    if not submitted.created:
        intake.withdraw()
    return submitted


def _from_parts(intake: Intake) -> tuple[JobRequest, Idempotency | None]:
    """The job of a form: its JSON is checked before the files are stored."""
    only_parts(files=("target", "source"), fields=("job",))
    target, sources = one_file("target"), request.files.getlist("source")
    document = load_object(one_text("job") or b"{}")
    if "input" in document:
        detail = "Send the inputs as the parts `target` and `source`, or in the JSON, not both."
        raise InvalidRequestError(detail, code="ambiguous_input", status=400)
    places = {"target": PENDING, "source": [PENDING] * len(sources)}
    checked = validated(JobRequest, {**document, "input": places})
    key = requested(document, parts=[target, *sources])
    target_ref, *source_refs = (
        Ref(file=intake.store(cast(BinaryIO, part.stream), name=part.filename).id)
        for part in (target, *sources)
    )
    inputs = JobInput(target=target_ref, source=source_refs)
    return checked.model_copy(update={"input": inputs}), key


def _settled_in_time(kit: Services, job_id: str, wait_s: int) -> bool:
    """Sleep without a database connection until the job is settled or the time is over."""

    def settled() -> bool:
        with kit.unit_of_work() as session:
            return queries.is_settled(session, job_id=job_id)

    return kit.settled.wait_for(job_id, settled=settled, timeout_s=wait_s)


def _settled_reply(kit: Services, job_id: str, wait_s: int) -> Response:
    with kit.unit_of_work() as session:
        job = queries.get(session, tenant_id=current_tenant(), job_id=job_id)
    headers = {"Location": f"/v1/jobs/{job_id}", "Preference-Applied": f"wait={wait_s}"}
    return reply(job_view(job, links=kit.links, now=utc_now()), 200, headers)


def _headers(job: JobRow, submitted: Submitted, wait_s: int) -> Mapping[str, str]:
    headers = {"Location": f"/v1/jobs/{job['id']}"}
    if not submitted.created:
        headers["Idempotent-Replayed"] = "true"
    if wait_s:
        headers["Preference-Applied"] = f"wait={wait_s}"
    return headers


@blueprint.get("")
@blueprint.input(JobListQuery, location="query", arg_name="wanted")
@blueprint.output(JobList)
def index(wanted: JobListQuery) -> Response:
    """List jobs, newest first. `metadata.KEY=value` filters by metadata."""
    kit, now = services(), utc_now()
    with kit.unit_of_work() as session:
        page = queries.list_jobs(
            session,
            tenant_id=current_tenant(),
            wanted=wanted.job_filter(),
            limit=wanted.limit,
            after=wanted.after,
        )
    data = [job_view(job, links=kit.links, now=now) for job in page.jobs]
    return reply({"data": data, "next_cursor": page.next_cursor, "has_more": page.has_more})


@blueprint.get("/<job_id>")
@blueprint.output(JobObject)
def show(job_id: str) -> Response:
    """Show a job as it stands now."""
    kit = services()
    with kit.unit_of_work() as session:
        job = queries.get(session, tenant_id=current_tenant(), job_id=job_id)
        position = queries.queue_position(session, job=job)
    return reply(_rendered(kit, job, position))


@blueprint.post("/<job_id>/cancel")
@blueprint.output(JobObject, status_code=202)
def cancel(job_id: str) -> Response:
    """Cancel a queued job at once; ask a running one to stop. Work done so far is charged."""
    kit = services()
    with kit.unit_of_work() as session:
        job = request_cancel(session, tenant_id=current_tenant(), job_id=job_id)
    return reply(_rendered(kit, job, None), 202)


def _rendered(kit: Services, job: JobRow, position: int | None) -> dict[str, Any]:
    return job_view(job, links=kit.links, now=utc_now(), queue_position=position)
