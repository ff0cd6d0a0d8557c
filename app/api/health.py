"""``/livez`` and ``/readyz``: for supervisors and load balancers, without a key."""

from typing import Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel

from app.api.auth import public
from app.api.openapi import Answers
from app.api.replies import reply
from app.api.services import services

NOT_READY: Answers = {
    503: {
        "description": "Not ready",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ready"}}},
    }
}

blueprint = APIBlueprint("health", __name__, tag="Health")


class Live(BaseModel):
    """This process answers."""

    status: Literal["ok"]


class Ready(BaseModel):
    """What was checked; ``degraded`` means that jobs are accepted but start later."""

    status: Literal["ok", "unavailable"]
    degraded: bool
    checks: dict[str, str]


@blueprint.get("/livez")
@blueprint.output(Live)
@public
def livez() -> Response:
    """Say that this process lives."""
    return reply({"status": "ok"})


@blueprint.get("/readyz")
@blueprint.output(Ready)
@blueprint.doc(responses=NOT_READY)
@public
def readyz() -> Response:
    """Say whether this process can accept jobs, and what is missing."""
    report = services().readiness.report()
    document = {
        "status": "ok" if report.ready else "unavailable",
        "degraded": report.degraded,
        "checks": dict(report.checks),
    }
    return reply(document, 200 if report.ready else 503)
