"""``/v1/admin/reconciliation``: comparisons of the books, and doing one now."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.audit_trail import note
from app.api.auth import admins_only, current_operator
from app.api.ledger_schemas import ReconciliationDetail, ReconciliationList
from app.api.replies import PAGE_ROWS_MAX, moment, page, reply
from app.api.services import services
from app.db import session_factory
from app.errors import NotFoundError
from app.reconciliation import reconcile
from billing.findings import KeptFinding, Reconciliation, findings_of, listed

blueprint = APIBlueprint(
    "admin_reconciliation", __name__, url_prefix="/v1/admin/reconciliation", tag="Admin"
)
blueprint.before_request(admins_only)


class RunsQuery(BaseModel):
    """Which page."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=PAGE_ROWS_MAX, description="Rows on one page.")
    after: int | None = Field(
        None, ge=1, le=2**62, description="The next_cursor of the page before this one."
    )


@blueprint.get("")
@blueprint.input(RunsQuery, location="query", arg_name="wanted")
@blueprint.output(ReconciliationList)
def index(wanted: RunsQuery) -> Response:
    """List reconciliations, newest first."""
    with services().unit_of_work() as session:
        runs = listed(session, limit=wanted.limit + 1, after=wanted.after)
    return page(runs, limit=wanted.limit, view=_view, cursor=lambda each: str(each.id))


@blueprint.get("/<int:run_id>")
@blueprint.output(ReconciliationDetail)
def show(run_id: int) -> Response:
    """Show what a reconciliation found."""
    with services().unit_of_work() as session:
        return reply(_detail(*_found(session, run_id)))


@blueprint.post("")
@blueprint.output(ReconciliationDetail, status_code=201)
def create() -> Response:
    """Compare all books now. Tenants with a finding are frozen; repairs are corrections."""
    kit = services()
    outcome = reconcile(session_factory(kit.database.engine), asked_by=current_operator())
    assert outcome is not None  # noqa: S101 - only a nightly one can have been done before
    with kit.unit_of_work() as session:
        detail = {"found": len(outcome.findings), "frozen": list(outcome.frozen)}
        note(session, action="ledger.reconcile", subject=str(outcome.id), detail=detail)
        document = _detail(*_found(session, outcome.id))
    return reply(document, 201)


def _found(session: Session, run_id: int) -> tuple[Reconciliation, list[KeptFinding]]:
    runs = listed(session, limit=1, after=run_id + 1)
    if not runs or runs[0].id != run_id:
        raise NotFoundError("There is no such reconciliation.")
    return runs[0], findings_of(session, run_id)


def _view(run: Reconciliation) -> dict[str, Any]:
    return {
        "id": str(run.id),
        "object": "reconciliation",
        "asked_by": run.asked_by,
        "day": None if run.day is None else run.day.isoformat(),
        "started_at": moment(run.started_at),
        "finished_at": moment(run.finished_at),
        "transfers": run.transfers,
        "found": run.findings,
    }


def _detail(run: Reconciliation, found: list[KeptFinding]) -> dict[str, Any]:
    findings = [
        {
            "code": each.code,
            "subject": each.subject,
            "detail": each.detail,
            "tenant": each.tenant,
        }
        for each in found
    ]
    return {**_view(run), "findings": findings}
