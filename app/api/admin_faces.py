"""``/v1/admin/blocked-faces`` and the erasure of a tenant's embeddings. Admin keys only."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, BinaryIO, Literal, cast

from apiflask import APIBlueprint, EmptySchema
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session
from werkzeug.datastructures import FileStorage

from app.api.auth import admins_only, current_operator, current_principal
from app.api.embeddings import ErasureObject
from app.api.gates import place_in
from app.api.idempotency import bind, earlier_resource, requested
from app.api.parts import one_file, one_text, only_parts
from app.api.replies import ListQuery, moment, page, reply
from app.api.schemas import Document, Listing
from app.api.services import Services, services, utc_now
from app.api.validation import validated
from app.errors import InvalidRequestError, NotFoundError
from app.faces.blocklist import (
    LENGTHS,
    MODEL_LENGTH_MAX,
    TEXT_LENGTH_MAX,
    THRESHOLD,
    block,
    blocked_faces,
    still_blocked,
    unblock,
)
from app.faces.embeddings import erase
from app.faces.identification import identify_apart
from app.faces.models import BlockedFace
from app.files.service import copy_bounded
from app.jobs.spec import Text
from app.json_body import load
from app.tenants.service import get_tenant
from engines.spec import MediaKind

blueprint = APIBlueprint("admin_faces", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)

FIELDS = ("reason", "threshold")
GATE_WAIT_S = 5.0
BUSY = "Other networks are being tried. Send the request again in a moment."


class BlockRequest(BaseModel):
    """A face that nobody may use as a source."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: str = Field(
        max_length=MODEL_LENGTH_MAX, description="the embedder's name, `data.embedder` of results"
    )
    vector: list[int | float] = Field(
        max_length=LENGTHS.stop - 1, description="its embedding; see `pixelmeter admin faces`"
    )
    reason: str = Field(max_length=TEXT_LENGTH_MAX)
    threshold: int | float = Field(
        THRESHOLD, description="cosine from which on a face counts as this one"
    )


class PictureForm(BaseModel):
    """What comes with a picture."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    reason: Text = Field(max_length=TEXT_LENGTH_MAX)
    threshold: int | float = Field(
        THRESHOLD, description="cosine from which on a face counts as this one"
    )


class BlockedFaceObject(Document):
    """A blocked face; its vector is never shown."""

    id: str
    object: Literal["blocked_face"]
    model: str
    threshold: float
    reason: str
    added_by: str
    created_at: datetime


class BlockedFaceList(Listing):
    """One page of blocked faces, newest first."""

    data: list[BlockedFaceObject]


@blueprint.get("/blocked-faces")
@blueprint.input(ListQuery, location="query", arg_name="wanted")
@blueprint.output(BlockedFaceList)
def index(wanted: ListQuery) -> Response:
    """List the faces that nobody may use as a source, newest first."""
    with services().unit_of_work() as session:
        found = blocked_faces(session, limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=_view, cursor=lambda each: each.id)


@blueprint.post("/blocked-faces")
@blueprint.input(BlockRequest, arg_name="wanted")
@blueprint.output(BlockedFaceObject, status_code=201)
def add(wanted: BlockRequest) -> Response:
    """Block a face by its vector; jobs with it end with `face_blocked` from their next run on."""
    kit, owner = services(), current_principal().key_id
    key = requested(request.get_json())
    with kit.unit_of_work() as session:
        known = earlier_resource(session, owner=owner, idempotency=key)
        if known is not None:
            return reply(_view(_blocked_before(session, known)), 201)
        face = block(
            session,
            kit.box,
            model=wanted.model,
            vector=wanted.vector,
            reason=wanted.reason,
            threshold=wanted.threshold,
            actor=current_operator(),
            now=utc_now(),
        )
        bind(session, owner=owner, idempotency=key, resource_id=face.id)
        document = _view(face)
    return reply(document, 201)


@blueprint.post("/blocked-faces/pictures")
@blueprint.output(BlockedFaceList, status_code=201)
@blueprint.doc(
    extensions={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "picture": {"type": "string", "format": "binary"},
                            **{name: {"type": "string"} for name in FIELDS},
                        },
                        "required": ["picture", "reason"],
                        "additionalProperties": False,
                    }
                }
            },
        }
    }
)
def add_picture() -> Response:
    """Block the face of a picture for every embedder whose weights are on the API's machine.

    The picture is not kept. Block it again, with another Idempotency-Key, after bringing another
    embedder.
    """
    kit, owner = services(), current_principal().key_id
    only_parts(files=("picture",), fields=FIELDS)
    part, fields = one_file("picture"), _fields()
    wanted, key = validated(PictureForm, fields), requested(fields, parts=[part])
    with kit.unit_of_work() as session:
        known = earlier_resource(session, owner=owner, idempotency=key)
        if known is not None:
            return _together(still_blocked(session, face_ids=known.split()))
    vectors = _seen(kit, part)
    now = utc_now()
    with kit.unit_of_work() as session:
        made = [
            block(
                session,
                kit.box,
                model=model,
                vector=vector,
                reason=wanted.reason,
                threshold=wanted.threshold,
                actor=current_operator(),
                now=now,
            )
            for model, vector in vectors.items()
        ]
        ids = " ".join(face.id for face in made)
        bind(session, owner=owner, idempotency=key, resource_id=ids)
        return _together(made)


def _blocked_before(session: Session, face_id: str) -> BlockedFace:
    """What a key blocked before; a repeat does not block again who was let through since."""
    face = session.get(BlockedFace, face_id)
    if face is None:
        detail = (
            "The face that this Idempotency-Key blocked was let through again. "
            "Use another key to block it once more."
        )
        raise NotFoundError(detail, code="face_not_found")
    return face


def _seen(kit: Services, part: FileStorage) -> dict[str, list[float]]:
    """The face of a picture by embedder; the picture is gone afterwards."""
    with kit.storage.scratch() as path:
        copy_bounded(cast(BinaryIO, part.stream), path, max_bytes=kit.settings.max_upload_bytes)
        probed = kit.prober(path)
        if probed.kind is not MediaKind.IMAGE:
            detail = "Send a picture of the face, not a video."
            raise InvalidRequestError(detail, code="unsupported_media")
        with place_in(kit.trials, wait_s=GATE_WAIT_S, detail=BUSY, retry_after_s=15):
            return identify_apart(kit.settings, path)


def _together(faces: Sequence[BlockedFace]) -> Response:
    documents = [_view(face) for face in faces]
    return reply({"data": documents, "next_cursor": None, "has_more": False}, 201)


def _fields() -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name in FIELDS:
        content = one_text(name)
        if content is not None:
            is_number = name == "threshold"
            document[name] = load(content) if is_number else content.decode("utf-8", "replace")
    return document


@blueprint.delete("/blocked-faces/<face_id>")
@blueprint.output(EmptySchema, status_code=204, description="Let through again")
def remove(face_id: str) -> Response:
    """Let a face through again and delete its vector."""
    with services().unit_of_work() as session:
        unblock(session, face_id=face_id, actor=current_operator(), now=utc_now())
    return Response(status=204)


@blueprint.delete("/tenants/<tenant_id>/embeddings")
@blueprint.output(ErasureObject)
def erase_embeddings(tenant_id: str) -> Response:
    """Erase every embedding of a tenant's source faces at once."""
    with services().unit_of_work() as session:
        get_tenant(session, tenant_id)
        erased = erase(session, tenant_id=tenant_id, actor=current_operator(), now=utc_now())
    return reply({"object": "erasure", "erased": erased})


def _view(face: BlockedFace) -> dict[str, Any]:
    return {
        "id": face.id,
        "object": "blocked_face",
        "model": face.model,
        "threshold": face.threshold,
        "reason": face.reason,
        "added_by": face.added_by,
        "created_at": moment(face.created_at),
    }
