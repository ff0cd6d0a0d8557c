"""``/v1/usage`` and ``/v1/admin/usage``: what was used, by time and by whom."""

from tempfile import TemporaryFile

from apiflask import APIBlueprint
from flask import Response
from sqlalchemy.orm import Session

from app.api.auth import admins_only, current_tenant
from app.api.downloads import sent, wanted_format
from app.api.openapi import Answers
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.api.usage_schemas import AdminUsageQuery, UsagePage, UsageQuery
from app.reports.files import MEDIA_TYPES, ReportFormat, write_csv, write_parquet
from app.reports.usage import (
    columns,
    cursor_of,
    place_of,
    usage_question,
    usage_views,
)
from app.tenants.service import check_zone, get_tenant, named_tenant
from billing.usage_report import Question, usage_rows

blueprint = APIBlueprint("usage", __name__, url_prefix="/v1", tag="Money")
admin_blueprint = APIBlueprint("admin_usage", __name__, url_prefix="/v1/admin", tag="Admin")
admin_blueprint.before_request(admins_only)

AS_FILES: Answers = {
    200: {
        "description": "With `format=csv` or `format=parquet`: the whole report as a file",
        "content": {
            MEDIA_TYPES[ReportFormat.CSV]: {"schema": {"type": "string"}},
            MEDIA_TYPES[ReportFormat.PARQUET]: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


@blueprint.get("/usage")
@blueprint.input(UsageQuery, location="query", arg_name="wanted")
@blueprint.output(UsagePage)
@blueprint.doc(responses=AS_FILES)
def usage(wanted: UsageQuery) -> Response:
    """Report usage in buckets of the tenant's time; a job counts when it was settled."""
    tenant_id, now = current_tenant(), utc_now()
    with services().unit_of_work() as session:
        zone = get_tenant(session, tenant_id).zone
        question = usage_question(session, wanted.wish(), tenant_id=tenant_id, zone=zone, now=now)
        return _answer(session, question, wanted)


@admin_blueprint.get("/usage")
@admin_blueprint.input(AdminUsageQuery, location="query", arg_name="wanted")
@admin_blueprint.output(UsagePage)
@admin_blueprint.doc(responses=AS_FILES)
def admin_usage(wanted: AdminUsageQuery) -> Response:
    """Report usage of one tenant or of all."""
    now = utc_now()
    with services().unit_of_work() as session:
        tenant = None if wanted.tenant is None else named_tenant(session, wanted.tenant)
        question = usage_question(
            session,
            wanted.wish(),
            tenant_id=None if tenant is None else tenant.id,
            zone=check_zone(wanted.zone or ("UTC" if tenant is None else tenant.zone)),
            now=now,
            over_tenants=True,
        )
        return _answer(session, question, wanted)


def _answer(session: Session, question: Question, wanted: UsageQuery) -> Response:
    kind = wanted_format(wanted.format)
    if kind is ReportFormat.JSON:
        return _page(session, question, wanted)
    file = TemporaryFile()  # noqa: SIM115 - closed when it has been sent
    write = write_csv if kind is ReportFormat.CSV else write_parquet
    views = usage_views(session, question, usage_rows(session, question))
    write(file, views, columns=columns(question))
    return sent(file, kind, name="usage")


def _page(session: Session, question: Question, wanted: UsageQuery) -> Response:
    after = None if wanted.after is None else place_of(wanted.after, question)
    rows = list(usage_rows(session, question, limit=wanted.limit + 1, after=after))
    shown, more = rows[: wanted.limit], len(rows) > wanted.limit
    views = usage_views(session, question, shown)
    return reply(
        {
            "data": [{**view, "start": moment(view["start"])} for view in views],
            "next_cursor": cursor_of(shown[-1]) if more else None,
            "has_more": more,
        }
    )
