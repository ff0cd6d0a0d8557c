"""``/v1/admin/consents``: who said that the persons shown in a job agreed. Admin keys only."""

from datetime import datetime
from typing import Any, Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import Field

from app.api.auth import admins_only
from app.api.replies import ListQuery, moment, page
from app.api.schemas import Document, Listing
from app.api.services import services
from app.jobs.consents import Consent, consents
from app.tenants.service import named_tenant

blueprint = APIBlueprint("admin_consents", __name__, url_prefix="/v1/admin", tag="Admin")
blueprint.before_request(admins_only)


class ConsentQuery(ListQuery):
    """Whose."""

    tenant: str | None = Field(None, max_length=128, description="name or id")
    user: str | None = Field(None, max_length=128, description="the tenant's tag of an end user")


class ConsentObject(Document):
    """What a job with a source rests on."""

    object: Literal["consent"]
    job: str
    tenant: str
    engine: str
    basis: Literal["request", "contract"] = Field(
        description="said with the job, or once for the tenant (see the audit log)"
    )
    key: str
    user: str | None
    at: datetime


class ConsentList(Listing):
    """One page, newest first."""

    data: list[ConsentObject]


@blueprint.get("/consents")
@blueprint.input(ConsentQuery, location="query", arg_name="wanted")
@blueprint.output(ConsentList)
def index(wanted: ConsentQuery) -> Response:
    """List who attested consent for which job: the key, the end user, the time."""
    with services().unit_of_work() as session:
        tenant_id = None if wanted.tenant is None else named_tenant(session, wanted.tenant).id
        found = consents(
            session,
            limit=wanted.limit + 1,
            after=wanted.after,
            tenant_id=tenant_id,
            user=wanted.user,
        )
    return page(found, limit=wanted.limit, view=_view, cursor=lambda each: each.job)


def _view(consent: Consent) -> dict[str, Any]:
    return {
        "object": "consent",
        "job": consent.job,
        "tenant": consent.tenant,
        "engine": consent.engine,
        "basis": consent.basis,
        "key": consent.key,
        "user": consent.user,
        "at": moment(consent.at),
    }
