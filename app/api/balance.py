"""``/v1/balance`` and ``/v1/ledger``: what can be spent, and what became of it."""

from typing import Any

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.auth import current_tenant
from app.api.money_schemas import BalanceObject, LedgerPage
from app.api.replies import PAGE_ROWS_MAX, moment, page, reply
from app.api.services import services
from billing.amounts import to_number
from billing.wallets import Balance, Entry, balance, entries

blueprint = APIBlueprint("balance", __name__, url_prefix="/v1", tag="Money")


class LedgerQuery(BaseModel):
    """Which page of the statement."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=PAGE_ROWS_MAX, description="Rows on one page.")
    after: int | None = Field(
        None, ge=1, le=2**62, description="The next_cursor of the page before this one."
    )


@blueprint.get("/balance")
@blueprint.output(BalanceObject)
def show() -> Response:
    """Show what can be spent, what is held by jobs under way, and the grants behind it."""
    with services().unit_of_work() as session:
        found = balance(session, current_tenant())
    return reply(balance_view(found))


@blueprint.get("/ledger")
@blueprint.input(LedgerQuery, location="query", arg_name="wanted")
@blueprint.output(LedgerPage)
def ledger(wanted: LedgerQuery) -> Response:
    """List what was booked, newest first."""
    with services().unit_of_work() as session:
        found = entries(session, current_tenant(), limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=_entry_view, cursor=lambda each: str(each.id))


def _entry_view(entry: Entry) -> dict[str, Any]:
    return {
        "id": str(entry.id),
        "kind": entry.kind,
        "tokens": to_number(entry.amount),
        "held": to_number(entry.held),
        "balance_after": to_number(entry.balance_after),
        "job": entry.job,
        "grant": None if entry.grant is None else str(entry.grant),
        "created_at": moment(entry.at),
    }


def balance_view(found: Balance) -> dict[str, Any]:
    """A balance as JSON numbers of tokens."""
    return {
        "available": to_number(found.available),
        "held": to_number(found.held),
        "debt": to_number(found.debt),
        "grants": [
            {
                "id": str(grant.id),
                "kind": grant.kind,
                "remaining": to_number(grant.remaining),
                "expires_at": moment(grant.expires_at),
                "priority": grant.priority,
                "token_price": None if grant.token_price is None else str(grant.token_price),
            }
            for grant in found.grants
        ],
    }
