"""``/v1/files``: pictures and videos in, their facts and their bytes out."""

from collections.abc import Callable
from datetime import datetime
from typing import BinaryIO, cast

from apiflask import APIBlueprint, FileSchema
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.auth import bearer_key, current_tenant, public, tenant_of
from app.api.content import content_of
from app.api.idempotency import bind, earlier_resource, requested
from app.api.openapi import described_body
from app.api.parts import is_multipart, one_file, only_parts
from app.api.replies import reply
from app.api.schemas import FileObject
from app.api.services import services, utc_now
from app.api.validation import validated
from app.errors import ForbiddenError, NotFoundError
from app.files.intake import Intake
from app.files.models import File
from app.files.service import find, get
from app.files.view import file_view
from app.jobs.idempotency import Idempotency
from app.jobs.spec import WebAddress

blueprint = APIBlueprint("files", __name__, url_prefix="/v1/files", tag="Files")


class FileByUrl(BaseModel):
    """A file to fetch once, now."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    url: WebAddress = Field(description="https address of a picture or video")


class ContentQuery(BaseModel):
    """What a signed link carries; without it the API key decides."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    exp: int | None = Field(None, ge=0, le=2**40, description="Unix time at which the link ends.")
    sig: str | None = Field(None, max_length=128, description="The link's signature.")


@blueprint.post("")
@blueprint.output(FileObject, status_code=201)
@blueprint.doc(
    extensions=described_body(
        json_schema=FileByUrl.model_json_schema(),
        parts={"file": {"type": "string", "format": "binary"}},
        required=["file"],
    )
)
def upload() -> Response:
    """Take in a picture or a video.

    The content decides what a file is, not its name. A file that cannot be read is refused with
    the reason as code, and nothing of it is kept.
    """
    kit, tenant_id, now = services(), current_tenant(), utc_now()
    session = kit.database.session()
    with kit.desk.open(session, tenant_id=tenant_id, now=now) as intake, session.begin():
        file = _from_part(intake) if is_multipart() else _from_url(intake)
        document = file_view(file, links=kit.links, now=now)
    return reply(document, 201)


def _from_part(intake: Intake) -> File:
    only_parts(files=("file",))
    part = one_file("file")
    stream = cast(BinaryIO, part.stream)
    key = requested({}, parts=[part])
    return _once(intake, key, lambda: intake.store(stream, name=part.filename))


def _from_url(intake: Intake) -> File:
    document = request.get_json()
    wanted = validated(FileByUrl, document)
    return _once(intake, requested(document), lambda: intake.store_url(wanted.url))


def _once(intake: Intake, key: Idempotency | None, take: Callable[[], File]) -> File:
    session, owner = intake.session, intake.tenant_id
    known = earlier_resource(session, owner=owner, idempotency=key)
    if known is not None:
        return get(session, tenant_id=owner, file_id=known, now=intake.now)
    file = take()
    bind(session, owner=owner, idempotency=key, resource_id=file.id)
    return file


@blueprint.get("/<file_id>")
@blueprint.output(FileObject)
def show(file_id: str) -> Response:
    """Show what is known about a file."""
    kit, now = services(), utc_now()
    with kit.unit_of_work() as session:
        file = get(session, tenant_id=current_tenant(), file_id=file_id, now=now)
    return reply(file_view(file, links=kit.links, now=now))


@blueprint.get("/<file_id>/content")
@blueprint.input(ContentQuery, location="query", arg_name="link")
@blueprint.output(FileSchema(), content_type="application/octet-stream")
@public
def content(file_id: str, link: ContentQuery) -> Response:
    """Send the bytes of a file, whole or a range, to its owner or to the holder of a link."""
    kit, now = services(), utc_now()
    owner = tenant_of(kit.principals.principal(bearer_key())) if link.sig is None else None
    with kit.unit_of_work() as session:
        if owner is not None:
            file = get(session, tenant_id=owner, file_id=file_id, now=now)
        else:
            file = _linked(session, file_id, link, now=now)
    return content_of(kit.storage, file)


def _linked(session: Session, file_id: str, link: ContentQuery, *, now: datetime) -> File:
    """The file of a signed link; a file that is gone looks like a link that is wrong."""
    try:
        file = find(session, file_id=file_id, now=now)
    except NotFoundError:
        detail = "The link does not open a file. Read the file or job again for a fresh link."
        raise ForbiddenError(detail, code="link_invalid") from None
    services().links.verify(
        file_id=file_id,
        tenant_id=file.tenant_id,
        method=request.method,
        expires=link.exp or 0,
        signature=link.sig or "",
        now=now,
    )
    return file
