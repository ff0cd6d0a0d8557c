"""``/v1/models/...``: a tenant's own weights, tried when they come and private ever after."""

from contextlib import AbstractContextManager
from threading import Semaphore
from typing import Any, BinaryIO, Literal, cast

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import current_tenant
from app.api.gates import place_in
from app.api.idempotency import bind, earlier_resource, requested
from app.api.parts import one_file, one_text, only_parts
from app.api.replies import reply
from app.api.schemas import Document
from app.api.services import services, utc_now
from app.api.validation import validated
from app.jobs.spec import Text
from app.weights.models import TenantModel
from app.weights.service import WeightsOffer, get, remove, take_in
from app.weights.view import own_model_view

blueprint = APIBlueprint("own_models", __name__, url_prefix="/v1/models", tag="Models")

FIELDS = ("name", "base", "engine", "licence", "sha256")
GATE_WAIT_S = 5.0


class OwnModelForm(BaseModel):
    """What comes with the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text = Field(min_length=1, max_length=64, description="how your jobs will call it")
    base: Text = Field(max_length=128, description="the model whose contract and price it has")
    engine: Text = Field("detect", max_length=64)
    licence: Text = Field("", max_length=128)
    sha256: Text | None = Field(None, pattern="^[0-9a-fA-F]{64}$")


class OwnModelObject(Document):
    """A version of a model of yours; `confined_by` says what held it during its trial."""

    id: str = Field(description="name@version, for the `model` of a job")
    object: Literal["model"]
    engine: str
    name: str
    version: str
    base: str
    licence: str
    sha256: str
    bytes: int
    inputs: dict[str, list[int]]
    confined_by: list[str]
    created_at: str


@blueprint.post("")
@blueprint.output(OwnModelObject, status_code=201)
@blueprint.doc(
    extensions={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "weights": {"type": "string", "format": "binary"},
                            **{name: {"type": "string"} for name in FIELDS},
                        },
                        "required": ["weights", "name", "base"],
                        "additionalProperties": False,
                    }
                }
            },
        }
    }
)
def upload() -> Response:
    """Take in an ONNX file as the next version of a model of yours.

    It is inspected and run once in a process without network, files and credentials; what is
    refused is told by its code. Only your tenant can name it. It costs what its base costs.
    """
    kit, tenant_id, now = services(), current_tenant(), utc_now()
    only_parts(files=("weights",), fields=FIELDS)
    part, offer = one_file("weights"), validated(OwnModelForm, _fields())
    key = requested(offer.model_dump(), parts=[part])
    session = kit.database.session()
    with _turn(kit.trials), session.begin():
        known = earlier_resource(session, owner=tenant_id, idempotency=key)
        if known is not None:
            return reply(own_model_view(session.get_one(TenantModel, known)), 201)
        model = take_in(
            session,
            kit.storage,
            kit.catalog,
            tenant_id=tenant_id,
            stream=cast(BinaryIO, part.stream),
            offer=WeightsOffer(**offer.model_dump()),
            now=now,
        )
        bind(session, owner=tenant_id, idempotency=key, resource_id=model.id)
        document = own_model_view(model)
    return reply(document, 201, {"Location": f"/v1/models/{document['id']}"})


def _turn(trials: Semaphore) -> AbstractContextManager[None]:
    """A turn at trying weights, or a 503."""
    detail = "Other weights are being tried. Send the request again in a moment."
    return place_in(trials, wait_s=GATE_WAIT_S, detail=detail, retry_after_s=15)


def _fields() -> dict[str, Any]:
    document: dict[str, Any] = {}
    for name in FIELDS:
        content = one_text(name)
        if content is not None:
            document[name] = content.decode("utf-8", "replace")
    return document


@blueprint.get("/<model_id>")
@blueprint.output(OwnModelObject)
def show(model_id: str) -> Response:
    """Show a model of yours: `name` for its newest version, or `name@version`."""
    with services().unit_of_work() as session:
        document = own_model_view(get(session, tenant_id=current_tenant(), model=model_id))
    return reply(document)


@blueprint.delete("/<model_id>")
@blueprint.output(OwnModelObject)
def delete(model_id: str) -> Response:
    """Delete a version and its weights; jobs that still wait for it end with `model_gone`."""
    kit = services()
    with kit.unit_of_work() as session:
        row = remove(
            session, kit.storage, tenant_id=current_tenant(), model=model_id, now=utc_now()
        )
        document = own_model_view(row)
    return reply(document)
