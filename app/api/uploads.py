"""``/v1/uploads``: large files in pieces (tus 1.0.0), or straight to the storage.

A tus client needs only the address of the collection. Where the storage is S3, a JSON body asks for
an address that takes the file by one PUT; ``complete`` then makes a file of what arrived.
"""

import io
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from apiflask import APIBlueprint, EmptySchema
from flask import Response, request
from gunicorn.http.errors import NoMoreData, ParseException
from pydantic import BaseModel, ConfigDict, Field
from werkzeug.exceptions import ClientDisconnected

from app.api import tus
from app.api.auth import current_tenant, public
from app.api.gates import place_in
from app.api.idempotency import bind, earlier_resource, requested
from app.api.replies import reply
from app.api.schemas import Document
from app.api.services import services, utc_now
from app.api.validation import validated
from app.errors import ConflictError, InvalidRequestError
from app.jobs.spec import Text
from app.uploads.checksum import checksum_of
from app.uploads.finishing import finish, is_whole
from app.uploads.models import Upload
from app.uploads.receiving import BrokenOffError, receive
from app.uploads.service import DIRECT_EXPIRES_S, UploadOffer, begin, get, refusal, terminate
from app.uploads.view import upload_view

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

blueprint = APIBlueprint("uploads", __name__, url_prefix="/v1/uploads", tag="Files")

GATE_WAIT_S = 5.0
TOO_MANY = "Too many files are arriving. Go on with this upload in a moment."
BINARY = {"type": "string", "format": "binary"}


def _body(schemas: dict[str, Any]) -> dict[str, Any]:
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    return {"requestBody": {"content": content}}


class DirectUpload(BaseModel):
    """A file that goes straight to the storage."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    bytes: int = Field(ge=0, description="length of the file")
    name: Text | None = Field(None, max_length=1024)
    sha256: Text | None = Field(None, pattern="^[0-9a-f]{64}$", description="refuse other bytes")


class PutAddress(Document):
    """Where a file goes, by one PUT with these headers."""

    url: str
    headers: dict[str, str]
    expires_in_s: int


class UploadError(Document):
    """Why the file was refused."""

    code: str
    detail: str


class UploadObject(Document):
    """An upload; `file` is the id of the file that it became."""

    id: str
    object: Literal["upload"]
    status: Literal["receiving", "finished", "refused"]
    name: str
    bytes: int
    received: int
    file: str | None
    error: UploadError | None
    put: PutAddress | None = None
    created_at: str
    expires_at: str


@blueprint.route("", methods=["OPTIONS"], provide_automatic_options=False)
@blueprint.output(EmptySchema, status_code=204)
@public
def options() -> Response:
    """Say which tus is spoken here."""
    return Response(status=204, headers=tus.what_is_spoken(services().settings.max_upload_bytes))


@blueprint.post("")
@blueprint.output(UploadObject, status_code=201)
@blueprint.doc(
    extensions=_body({"application/json": DirectUpload.model_json_schema(), tus.BODY_TYPE: BINARY})
)
def create() -> Response:
    """Begin an upload.

    With `Tus-Resumable: 1.0.0` and `Upload-Length` it arrives by PATCH at the `Location`; a body of
    `application/offset+octet-stream` is its beginning. With a JSON body the answer has an address
    of the storage to PUT the file to.
    """
    if request.is_json:
        return _create_direct()
    tus.require_version(request.headers)
    offer = tus.offer_of(request.headers)
    upload = _begin("tus", offer, {"length": offer.total, "labels": offer.labels})
    if request.mimetype == tus.BODY_TYPE and not upload.received:  # else it was replayed
        upload = _append(upload.id, offset=0)
    headers = {"Location": f"/v1/uploads/{upload.id}", **tus.standing(upload)}
    return reply(upload_view(upload), 201, headers)


def _create_direct() -> Response:
    kit, document = services(), request.get_json()
    wanted = validated(DirectUpload, document)
    direct = kit.storage.direct
    if direct is None:
        detail = "The storage of this server takes no uploads of its own. Upload with tus."
        raise ConflictError(detail, code="direct_upload_unavailable")
    offer = UploadOffer(total=wanted.bytes, name=wanted.name, sha256=wanted.sha256)
    upload = _begin("direct", offer, document)
    url, headers = direct.address(
        upload.storage_key,
        total=upload.total,
        sha256=upload.sha256,
        expires_s=DIRECT_EXPIRES_S,
    )
    put = {"url": url, "headers": headers, "expires_in_s": DIRECT_EXPIRES_S}
    location = {"Location": f"/v1/uploads/{upload.id}"}
    return reply({**upload_view(upload), "put": put}, 201, location)


def _begin(way: str, offer: UploadOffer, document: dict[str, Any]) -> Upload:
    kit, tenant_id, now = services(), current_tenant(), utc_now()
    key = requested(document)
    with kit.unit_of_work() as session:
        known = earlier_resource(session, owner=tenant_id, idempotency=key)
        if known is not None:
            return get(session, tenant_id=tenant_id, upload_id=known, now=now)
        upload = begin(session, kit.uploads, tenant_id=tenant_id, way=way, offer=offer, now=now)
        bind(session, owner=tenant_id, idempotency=key, resource_id=upload.id)
    return upload


@blueprint.get("/<upload_id>")
@blueprint.output(UploadObject)
def show(upload_id: str) -> Response:
    """Show an upload; HEAD tells a tus client where to go on.

    One whose last byte has arrived while the server stopped becomes a file now.
    """
    if request.method == "HEAD":
        tus.require_version(request.headers)
    upload = _found(upload_id)
    if upload.status == "receiving" and is_whole(upload):
        upload = _finished(upload_id)
    if request.method == "HEAD":
        if upload.status == "refused":
            raise refusal(upload)
        return Response(status=200, headers=dict(tus.standing(upload)))
    return reply(upload_view(upload), headers=tus.standing(upload))


@blueprint.patch("/<upload_id>")
@blueprint.output(EmptySchema, status_code=204)
@blueprint.doc(extensions=_body({tus.BODY_TYPE: BINARY}))
def append(upload_id: str) -> Response:
    """Append a piece of the file at `Upload-Offset`.

    After the last piece the file is probed as any other, and `Pixelmeter-File` names it.
    """
    tus.require_version(request.headers)
    if request.mimetype != tus.BODY_TYPE:
        detail = f"A piece of a file is sent as {tus.BODY_TYPE}. Set the Content-Type header."
        raise InvalidRequestError(detail, code="unsupported_media_type", status=415)
    upload = _append(upload_id, offset=tus.number(request.headers, "Upload-Offset"))
    return Response(status=204, headers=dict(tus.standing(upload)))


@blueprint.post("/<upload_id>")
@blueprint.output(EmptySchema, status_code=204)
def overridden(upload_id: str) -> Response:
    """PATCH or DELETE for clients that can only POST: `X-HTTP-Method-Override`."""
    match request.headers.get("X-HTTP-Method-Override", "").upper():
        case "PATCH":
            return append(upload_id)
        case "DELETE":
            return delete(upload_id)
    detail = "Use PATCH, or name it in X-HTTP-Method-Override."
    raise InvalidRequestError(detail, code="method_not_allowed", status=405)


@blueprint.post("/<upload_id>/complete")
@blueprint.output(UploadObject)
def complete(upload_id: str) -> Response:
    """Make a file of what was PUT to the storage, after the same checks as any other."""
    return reply(upload_view(_finished(upload_id)))


@blueprint.delete("/<upload_id>")
@blueprint.output(EmptySchema, status_code=204)
def delete(upload_id: str) -> Response:
    """Take an upload back; a file that it became stays."""
    tus.require_version(request.headers)
    terminate(services().uploads, tenant_id=current_tenant(), upload_id=upload_id, now=utc_now())
    return Response(status=204, headers={"Tus-Resumable": tus.VERSION})


def _found(upload_id: str) -> Upload:
    with services().unit_of_work() as session:
        return get(session, tenant_id=current_tenant(), upload_id=upload_id, now=utc_now())


def _append(upload_id: str, *, offset: int) -> Upload:
    kit, checksum = services(), request.headers.get("Upload-Checksum")
    try:
        with place_in(kit.arrivals, wait_s=GATE_WAIT_S, detail=TOO_MANY, retry_after_s=5):
            receive(
                kit.uploads,
                tenant_id=current_tenant(),
                upload_id=upload_id,
                offset=offset,
                stream=cast(BinaryIO, _Body()),
                length=request.content_length,
                checksum=None if checksum is None else checksum_of(checksum),
                now=utc_now(),
            )
    except BrokenOffError:
        detail = "The body broke off. Ask with HEAD how far the upload is and go on there."
        raise InvalidRequestError(detail, code="malformed_body", status=400) from None
    upload = _found(upload_id)
    return _finished(upload_id) if is_whole(upload) else upload


def _finished(upload_id: str) -> Upload:
    return finish(
        services().uploads, tenant_id=current_tenant(), upload_id=upload_id, now=utc_now()
    )


class _Body(io.RawIOBase):
    """The body of the request at hand; every way it can end early is one."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        try:
            part = request.stream.read(len(view))
        except (ClientDisconnected, ParseException, NoMoreData, OSError) as error:
            raise BrokenOffError from error
        view[: len(part)] = part
        return len(part)
