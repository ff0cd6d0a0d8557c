"""``POST /v1/face-swap``: face fusion for clients that send two files and follow one address."""

from typing import Any, BinaryIO, cast

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import anonymous_allowed
from app.api.compat.synchronous import LATER, Asked, refuse_unless_succeeded, reply_later, run_now
from app.api.idempotency import requested
from app.api.parts import is_multipart, one_file, one_text, only_parts
from app.api.replies import reply
from app.api.schemas import Document, JobUsage
from app.api.services import services, utc_now
from app.api.validation import validated
from app.errors import InvalidRequestError
from app.files.intake import Intake
from app.jobs.record import JobRow
from app.jobs.spec import JobInput, JobRequest, Ref, Text, Tokens
from app.jobs.view import output_view
from app.json_body import load

blueprint = APIBlueprint("face_swap", __name__, url_prefix="/v1", tag="Existing clients")

ENGINE = "face-swap"
FILES = ("source", "target")
JSON_FIELDS = ("enhance_level", "token_quota", "consent")
FIELDS = (*JSON_FIELDS, "model")


class FaceSwapForm(BaseModel):
    """What comes beside the two files."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    enhance_level: int | None = Field(None, description="0 to 3; 2 and 3 cost more")
    token_quota: Tokens | None = Field(None, description="refuse when the quote is higher")
    consent: bool = Field(
        default=False, description="the persons shown agreed; true unless a contract says so"
    )
    model: Text | None = Field(None, max_length=128, description="name or name@version")

    def params(self) -> dict[str, Any]:
        """The engine's parameters that were sent."""
        return {} if self.enhance_level is None else {"enhance_level": self.enhance_level}


class FaceSwapAnswer(Document):
    """Where the result is, and what it cost."""

    id: str = Field(description="the job, at /v1/jobs/{id}")
    model: str
    output_url: str = Field(description="the result; needs no key and works for 15 minutes")
    usage: JobUsage


@blueprint.post("/face-swap")
@blueprint.output(FaceSwapAnswer)
@blueprint.doc(
    responses=LATER,
    extensions={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            **{name: {"type": "string", "format": "binary"} for name in FILES},
                            **{name: {"type": "string"} for name in FIELDS},
                        },
                        "required": list(FILES),
                        "additionalProperties": False,
                    }
                }
            },
        }
    },
)
@anonymous_allowed
def swap() -> Response:
    """Put the face of `source` onto the largest face of `target` and answer when it is done.

    A job like any other: it is listed, priced and charged as one, and answered by 202 if it takes
    more than 60 seconds.
    """
    job, is_settled = run_now(_read)
    if not is_settled:
        return reply_later(job)
    refuse_unless_succeeded(job)
    return reply(_answer(job))


def _answer(job: JobRow) -> dict[str, Any]:
    output = output_view(job, links=services().links, now=utc_now())
    return {
        "id": job["id"],
        "model": job["model"],
        "output_url": output["files"][0]["url"] if output else None,
        "usage": job["usage"],
    }


def _read(intake: Intake) -> Asked:
    if not is_multipart():
        detail = "Send multipart/form-data with the files `source` and `target`."
        raise InvalidRequestError(detail, code="unsupported_media_type", status=415)
    only_parts(files=FILES, fields=FIELDS)
    document = _fields()
    wanted = validated(FaceSwapForm, document)
    services().catalog.check(engine=ENGINE, model=wanted.model, params=wanted.params())
    source, target = parts = [one_file(name) for name in FILES]
    key = requested(document, parts=parts)
    target_id, source_id = (
        intake.store(cast(BinaryIO, part.stream), name=part.filename).id
        for part in (target, source)
    )
    job = JobRequest(
        engine=ENGINE,
        model=wanted.model,
        input=JobInput(target=Ref(file=target_id), source=[Ref(file=source_id)]),
        params=wanted.params(),
        priority="interactive",
        token_quota=wanted.token_quota,
        consent=wanted.consent,
    )
    return Asked(job, key)


def _fields() -> dict[str, Any]:
    """The text parts: the model as it is, numbers and truth as JSON."""
    document: dict[str, Any] = {}
    for name in FIELDS:
        content = one_text(name)
        if content is not None:
            # str(True) of many a client is no JSON
            content = content.lower() if name == "consent" else content
            is_json = name in JSON_FIELDS
            document[name] = load(content) if is_json else content.decode("utf-8", "replace")
    return document
