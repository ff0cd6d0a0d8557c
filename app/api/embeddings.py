"""``/v1/embeddings``: what is kept of the tenant's source faces, and making it unreadable."""

from datetime import datetime
from typing import Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from app.api.auth import current_principal, current_tenant
from app.api.replies import moment, reply
from app.api.schemas import Document
from app.api.services import services, utc_now
from app.faces.embeddings import count, erase

blueprint = APIBlueprint("embeddings", __name__, url_prefix="/v1/embeddings", tag="Faces")


class EmbeddingsObject(Document):
    """What is kept of your source faces."""

    object: Literal["embeddings"]
    kept: int = Field(description="faces whose embedding makes your next job with them cheaper")
    until: datetime | None = Field(description="when the last of them goes")


class ErasureObject(Document):
    """What was made unreadable."""

    object: Literal["erasure"]
    erased: int


@blueprint.get("")
@blueprint.output(EmbeddingsObject)
def show() -> Response:
    """Say how many embeddings of your source faces are kept. They are kept for 7 days."""
    with services().unit_of_work() as session:
        kept = count(session, tenant_id=current_tenant())
    return reply({"object": "embeddings", "kept": kept.count, "until": moment(kept.until)})


@blueprint.delete("")
@blueprint.output(ErasureObject)
def delete() -> Response:
    """Erase every embedding of your source faces at once; the key they are sealed with goes too."""
    with services().unit_of_work() as session:
        erased = erase(
            session, tenant_id=current_tenant(), actor=current_principal().key_id, now=utc_now()
        )
    return reply({"object": "erasure", "erased": erased})
