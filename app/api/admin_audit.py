"""``/v1/admin/audit``: what operators did and what was booked, newest first."""

from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.admin_schemas import AuditPage
from app.api.auth import admins_only
from app.api.replies import PAGE_ROWS_MAX, moment, page
from app.api.services import services
from billing.audit import Entry, entries

blueprint = APIBlueprint("admin_audit", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)


class AuditQuery(BaseModel):
    """Which rows of the log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=PAGE_ROWS_MAX, description="Rows on one page.")
    after: int | None = Field(
        None, ge=1, le=2**62, description="The next_cursor of the page before this one."
    )
    kind: Literal["action", "journal"] | None = Field(
        None, description="Only what operators did, or only what was booked."
    )
    actor: str | None = Field(None, max_length=128, description="Only what this one did.")


@blueprint.get("/audit")
@blueprint.input(AuditQuery, location="query", arg_name="wanted")
@blueprint.output(AuditPage)
def audit(wanted: AuditQuery) -> Response:
    """List the audit log: admin actions at once, money journals within seconds."""
    with services().unit_of_work() as session:
        found = entries(
            session,
            limit=wanted.limit + 1,
            after=wanted.after,
            kind=wanted.kind,
            actor=wanted.actor,
        )
    return page(found, limit=wanted.limit, view=_entry_view, cursor=lambda each: str(each.seq))


def _entry_view(entry: Entry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "at": moment(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "detail": entry.detail,
        "journal": None if entry.journal is None else str(entry.journal),
        "digest": entry.digest,
    }
