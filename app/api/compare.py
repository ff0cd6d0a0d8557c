"""``/v1/jobs/{id}/compare``: a coloured picture beside what was sent, for the holder of a link.

One page without a framework. Its script and style are files of ours and the policy of the page
allows nothing else, so nothing in a file's name can run.
"""

from importlib.resources import files
from typing import Any, Final

from apiflask import APIBlueprint, FileSchema
from flask import Response, render_template_string
from sqlalchemy.orm import Session

from app.api.auth import public
from app.api.files import ContentQuery
from app.api.services import services, utc_now
from app.errors import ForbiddenError, NotFoundError
from app.files.links import LinkSigner
from app.files.models import File
from app.files.service import find
from app.jobs import queries
from app.jobs.comparison import Comparison, comparison_of
from app.jobs.record import JobRow

blueprint = APIBlueprint("compare", __name__, tag="Jobs")

ASSETS: Final = {"compare.css": "text/css", "compare.js": "text/javascript"}
POLICY: Final = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'self'; script-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
PAGE_HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}


@blueprint.get("/v1/jobs/<job_id>/compare")
@blueprint.input(ContentQuery, location="query", arg_name="link")
@blueprint.output(FileSchema(), content_type="text/html")
@public
def show(job_id: str, link: ContentQuery) -> Response:
    """Show a coloured picture or video over what was sent, with a divider to move."""
    kit, now = services(), utc_now()
    with kit.unit_of_work() as session:
        job = _linked(session, job_id, link)
        found = comparison_of(job, now=now)
        if found is None:
            raise NotFoundError("This job has no picture to compare.", code="job_not_found")
        before = _kept(session, found.before_id)
        sent = _kept(session, job["inputs"]["target"])
    page = render_template_string(
        _asset("page.html"),
        name=found.name if sent is None else sent.name,
        **_facts(job, found, before, links=kit.links),
    )
    return Response(page, content_type="text/html; charset=utf-8", headers=PAGE_HEADERS)


@blueprint.get("/assets/<name>")
@blueprint.output(FileSchema(), content_type="text/css")
@public
def asset(name: str) -> Response:
    """The script and the style of the page."""
    if name not in ASSETS:
        raise NotFoundError("There is no such address.", code="not_found")
    answer = Response(_asset(name), content_type=f"{ASSETS[name]}; charset=utf-8")
    answer.headers["Cache-Control"] = "public, max-age=300"
    answer.headers["X-Content-Type-Options"] = "nosniff"
    return answer


def _linked(session: Session, job_id: str, link: ContentQuery) -> JobRow:
    """The job of a signed link; a job that is not there looks like a link that is wrong."""
    job = queries.by_id(session, job_id=job_id)
    if job is None:
        detail = "The link does not open a job. Read the job again for a fresh link."
        raise ForbiddenError(detail, code="link_invalid")
    services().links.verify_comparison(
        job_id=job_id,
        tenant_id=job["tenant_id"],
        expires=link.exp or 0,
        signature=link.sig or "",
        now=utc_now(),
    )
    return job


def _kept(session: Session, file_id: str) -> File | None:
    try:
        return find(session, file_id=file_id, now=utc_now())
    except NotFoundError:
        return None


def _facts(
    job: JobRow, found: Comparison, before: File | None, *, links: LinkSigner
) -> dict[str, Any]:
    def address(file_id: str) -> str:
        url = links.content_url(file_id=file_id, tenant_id=job["tenant_id"], now=utc_now())
        return url.removeprefix(links.base_url)  # of the same origin, whatever it is called

    shown = found.before_id if before is not None and found.can_show(before.media_type) else None
    return {
        "model": job["output"]["data"].get("model", job["model"]),
        "tokens": None if job["usage"] is None else job["usage"].get("tokens"),
        "kind": found.kind,
        "width": found.width,
        "height": found.height,
        "after": address(found.after_id),
        "before": None if shown is None else address(shown),
        "download": address(found.result_id),
    }


def _asset(name: str) -> str:
    return (files("app.api") / "comparison" / name).read_text(encoding="utf-8")
