"""``/v1/grants``: every grant of the caller's tenant and what became of it."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response

from app.api.auth import current_tenant
from app.api.balance import LedgerQuery
from app.api.money_schemas import GrantPage
from app.api.replies import moment, page
from app.api.services import services
from billing import grants
from billing.amounts import to_number
from billing.grants import GrantEntry

blueprint = APIBlueprint("grants", __name__, url_prefix="/v1/grants", tag="Money")


@blueprint.get("")
@blueprint.input(LedgerQuery, location="query", arg_name="wanted")
@blueprint.output(GrantPage)
def index(wanted: LedgerQuery) -> Response:
    """List the grants, newest first, used up ones included; `GET /v1/balance` shows the open ones.

    Tokens are drawn by priority (lower first), then earliest expiry, then the older grant.
    """
    with services().unit_of_work() as session:
        found = grants.listed(session, current_tenant(), limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=_view, cursor=lambda each: str(each.id))


def _view(grant: GrantEntry) -> dict[str, Any]:
    return {
        "id": str(grant.id),
        "object": "grant",
        "kind": grant.kind,
        "granted": to_number(grant.granted),
        "remaining": to_number(grant.remaining),
        "held": to_number(grant.held),
        "spent": to_number(grant.spent),
        "expired": to_number(grant.expired),
        "revoked": to_number(grant.revoked),
        "priority": grant.priority,
        "effective_at": moment(grant.effective_at),
        "expires_at": moment(grant.expires_at),
    }
