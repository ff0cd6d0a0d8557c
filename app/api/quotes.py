"""``POST /v1/quotes``: the price of a job body. Nothing is stored."""

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import current_tenant
from app.api.replies import reply
from app.api.schemas import QuoteObject
from app.api.services import services, utc_now
from app.jobs.spec import JobRequest
from app.speeds.quoting import quote_request

blueprint = APIBlueprint("quotes", __name__, url_prefix="/v1/quotes", tag="Jobs")


class QuoteQuery(BaseModel):
    """How the job would be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    batch_items: int = Field(
        1, ge=1, le=1_000_000, description="The price of each of so many items of one batch."
    )


@blueprint.post("")
@blueprint.input(QuoteQuery, location="query", arg_name="sent")
@blueprint.input(JobRequest, arg_name="job")
@blueprint.output(QuoteObject)
def quote(sent: QuoteQuery, job: JobRequest) -> Response:
    """Say the most that a job can cost, and whether the balance covers it.

    Inputs given by URL or inline are looked at and dropped again.
    """
    kit, now = services(), utc_now()
    session = kit.database.session()
    with kit.desk.open(session, tenant_id=current_tenant(), now=now, keep=False) as intake:
        document = quote_request(
            session,
            catalog=kit.catalog,
            outlook=kit.outlook,
            intake=intake,
            request=job,
            batch_items=sent.batch_items,
            now=now,
        )
        session.rollback()
    return reply(document)
