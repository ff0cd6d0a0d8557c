"""``POST /yolo/detect``: detection for clients that send a picture's address and read boxes."""

from typing import Any, BinaryIO, Self, cast

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.compat.synchronous import LATER, Asked, refuse_unless_succeeded, reply_later, run_now
from app.api.idempotency import requested
from app.api.openapi import described_body
from app.api.parts import is_multipart, one_file, one_text, only_parts
from app.api.replies import reply
from app.api.schemas import Document, JobUsage
from app.api.services import services
from app.api.validation import validated
from app.errors import FieldError, InvalidRequestError
from app.files.intake import Intake
from app.files.models import File
from app.jobs.record import JobRow
from app.jobs.spec import JobInput, JobRequest, Ref, Text, WebAddress
from app.json_body import load
from app.weights.service import find_own
from engines.spec import MediaKind

blueprint = APIBlueprint("yolo", __name__, url_prefix="/yolo", tag="Existing clients")

ENGINE = "detect"
TEXT_FIELDS = ("image_url", "model")
JSON_FIELDS = ("img_size", "conf", "iou", "max_det", "classes")


class DetectionOptions(BaseModel):
    """How to look; what the values may be is said by the engine's parameters."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    image_url: WebAddress | None = Field(None, description="https address, fetched once")
    model: Text | None = Field(None, max_length=128, description="name or name@version")
    img_size: int | list[int] | None = Field(None, description="inference size; the price follows")
    conf: float | None = None
    iou: float | None = None
    max_det: int | None = None
    classes: list[int] | None = None

    def params(self) -> dict[str, Any]:
        """The engine's parameters that were sent."""
        given = self.model_dump(include=set(JSON_FIELDS), exclude_none=True)
        return dict(given)


class DetectionRequest(DetectionOptions):
    """A picture and how to look at it."""

    image: Text | None = Field(None, description="data:image/png;base64,...")

    @model_validator(mode="after")
    def _one_picture(self) -> Self:
        if (self.image is None) == (self.image_url is None):
            raise ValueError("give exactly one of image_url and image")
        return self


class FoundObject(BaseModel):
    """One detection; more members come with segmentation and pose models."""

    model_config = ConfigDict(extra="allow")

    class_id: int
    label: str
    confidence: float
    box: list[float] = Field(description="x1, y1, x2, y2 in pixels of the picture")


class DetectionAnswer(Document):
    """What was found, and what it cost."""

    id: str = Field(description="the job, at /v1/jobs/{id}")
    model: str
    predictions: list[FoundObject]
    usage: JobUsage


@blueprint.post("/detect")
@blueprint.output(DetectionAnswer)
@blueprint.doc(
    responses=LATER,
    extensions=described_body(
        json_schema=DetectionRequest.model_json_schema(),
        parts={
            "image": {"type": "string", "format": "binary"},
            **{name: {"type": "string"} for name in (*TEXT_FIELDS, *JSON_FIELDS)},
        },
        required=[],
    ),
)
def detect() -> Response:
    """Find objects in one picture and answer when it is done.

    The picture comes as an address (`image_url`), as a data URI (`image`) or as the file part
    `image`. A job like any other: it is listed, priced and charged as one.
    """
    job, is_settled = run_now(_read)
    if not is_settled:
        return reply_later(job)
    refuse_unless_succeeded(job)
    return reply(_answer(job))


def _answer(job: JobRow) -> dict[str, Any]:
    return {
        "id": job["id"],
        "model": job["model"],
        "predictions": job["output"]["data"]["predictions"],
        "usage": job["usage"],
    }


def _read(intake: Intake) -> Asked:
    if is_multipart():
        return _from_form(intake)
    document = request.get_json()
    wanted = validated(DetectionRequest, document)
    _check(wanted, intake)
    return Asked(_job(wanted, _fetched(wanted, intake)), requested(document))


def _fetched(wanted: DetectionRequest, intake: Intake) -> File:
    if wanted.image_url is not None:
        return intake.store_url(wanted.image_url)
    return intake.store_data_uri(wanted.image or "")


def _from_form(intake: Intake) -> Asked:
    only_parts(files=("image",), fields=(*TEXT_FIELDS, *JSON_FIELDS))
    document = _fields()
    wanted = validated(DetectionOptions, document)
    _check(wanted, intake)
    if wanted.image_url is not None and not request.files:
        return Asked(_job(wanted, intake.store_url(wanted.image_url)), requested(document))
    part = one_file("image")
    if wanted.image_url is not None:
        detail = "Send the picture as the part `image` or its address as `image_url`, not both."
        raise InvalidRequestError(detail, code="ambiguous_input", status=400)
    key = requested(document, parts=[part])
    file = intake.store(cast(BinaryIO, part.stream), name=part.filename)
    return Asked(_job(wanted, file), key)


def _fields() -> dict[str, Any]:
    """The text parts: names as they are, numbers and lists as JSON."""
    document: dict[str, Any] = {}
    for name in (*TEXT_FIELDS, *JSON_FIELDS):
        content = one_text(name)
        if content is not None:
            document[name] = (
                load(content) if name in JSON_FIELDS else content.decode("utf-8", "replace")
            )
    return document


def _check(wanted: DetectionOptions, intake: Intake) -> None:
    """Refuse what cannot run before anything is fetched."""
    catalog = services().catalog
    own = find_own(
        intake.session, catalog, tenant_id=intake.tenant_id, engine=ENGINE, model=wanted.model
    )
    catalog.check(
        engine=ENGINE,
        model=wanted.model,
        params=wanted.params(),
        own=own.version if own else None,
    )


def _job(wanted: DetectionOptions, file: File) -> JobRequest:
    if file.kind != MediaKind.IMAGE:
        detail = "This address takes pictures; send a video to POST /v1/jobs."
        place = FieldError("/image_url", f"is {file.media_type}")
        raise InvalidRequestError(detail, code="unsupported_media", errors=[place])
    return JobRequest(
        engine=ENGINE,
        model=wanted.model,
        input=JobInput(target=Ref(file=file.id)),
        params=wanted.params(),
        priority="interactive",
    )
