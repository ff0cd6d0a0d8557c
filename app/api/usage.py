"""``/v1/usage`` and ``/v1/admin/usage``: what was used, by time and by whom.

A file is first written to a temporary one: memory stays small, and a slow reader holds no
connection to the database.
"""

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Final

from apiflask import APIBlueprint
from flask import Response, request
from sqlalchemy.orm import Session

from app.api.auth import admins_only, current_tenant
from app.api.openapi import Answers
from app.api.replies import moment, reply
from app.api.services import services, utc_now
from app.api.usage_schemas import AdminUsageQuery, UsagePage, UsageQuery
from app.errors import FieldError, InvalidRequestError
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

PIECE_BYTES: Final = 64 * 1024
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


def wanted_format(name: str | None) -> ReportFormat:
    """The format that the query or the Accept header asks for; JSON when neither does.

    Raises:
        InvalidRequestError: code ``invalid_format``.
    """
    if name is None:
        best = request.accept_mimetypes.best_match(list(MEDIA_TYPES.values()))
        return next(
            (kind for kind, media in MEDIA_TYPES.items() if media == best), ReportFormat.JSON
        )
    if name in set(ReportFormat):
        return ReportFormat(name)
    wanted = f"one of {', '.join(ReportFormat)}"
    raise InvalidRequestError(
        f"format must be {wanted}, got {name!r}.",
        code="invalid_format",
        errors=[FieldError("/format", wanted)],
    )


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


def sent(file: IO[bytes], kind: ReportFormat, *, name: str) -> Response:
    """A file as a download, piece by piece; it is closed at the end."""
    size = file.tell()
    file.seek(0)

    def pieces() -> Iterator[bytes]:
        with file:
            while piece := file.read(PIECE_BYTES):
                yield piece

    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{kind.value}"',
        "Content-Length": str(size),
    }
    response = Response(pieces(), headers=headers, content_type=MEDIA_TYPES[kind])
    response.call_on_close(file.close)
    return response
