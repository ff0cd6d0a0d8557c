"""``/v1/balance`` and ``/v1/ledger``: what can be spent, and what became of it."""

from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any, Final, Literal

from apiflask import APIBlueprint
from flask import Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from app.api.auth import current_tenant
from app.api.downloads import sent, wanted_format
from app.api.money_schemas import BalanceObject, LedgerEntry, LedgerPage
from app.api.openapi import Answers
from app.api.replies import PAGE_ROWS_MAX, moment, page, reply
from app.api.services import services
from app.errors import FieldError, InvalidRequestError
from app.reports.files import MEDIA_TYPES, ReportFormat, write_csv
from billing.amounts import to_number
from billing.wallets import Entry, entries

blueprint = APIBlueprint("balance", __name__, url_prefix="/v1", tag="Money")

EntryKind = Literal[
    "grant", "hold", "settle", "expire", "void", "refund", "revoke", "repay", "correction"
]
CSV_PAGE_ROWS: Final = 1000  # read at once; a file has as many as there are
AS_CSV: Answers = {
    200: {
        "description": "With `format=csv`: every line",
        "content": {MEDIA_TYPES[ReportFormat.CSV]: {"schema": {"type": "string"}}},
    }
}


class LedgerQuery(BaseModel):
    """Which page of the statement."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    limit: int = Field(50, ge=1, le=PAGE_ROWS_MAX, description="Rows on one page.")
    after: int | None = Field(
        None, ge=1, le=2**62, description="The next_cursor of the page before this one."
    )
    kind: EntryKind | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = Field(None, description="not included")
    format: str | None = Field(
        None, max_length=16, description="json or csv; else the Accept header decides"
    )


@blueprint.get("/balance")
@blueprint.output(BalanceObject)
def show() -> Response:
    """Show what can be spent, what is held by jobs under way, and the grants behind it."""
    with services().unit_of_work() as session:
        return reply(services().balances.shown(session, current_tenant()))


@blueprint.get("/ledger")
@blueprint.input(LedgerQuery, location="query", arg_name="wanted")
@blueprint.output(LedgerPage)
@blueprint.doc(responses=AS_CSV)
def ledger(wanted: LedgerQuery) -> Response:
    """List what was booked, newest first; as CSV all of it."""
    kind = wanted_format(wanted.format, offered=(ReportFormat.JSON, ReportFormat.CSV))
    _check_range(wanted)
    with services().unit_of_work() as session:
        if kind is ReportFormat.CSV:
            return _as_file(session, wanted)
        found = _read(session, wanted, limit=wanted.limit + 1, after=wanted.after)
    return page(found, limit=wanted.limit, view=_entry_view, cursor=lambda each: str(each.id))


def _check_range(wanted: LedgerQuery) -> None:
    if wanted.since is not None and wanted.until is not None and wanted.since >= wanted.until:
        raise InvalidRequestError(
            "The time range is not valid: since must lie before until.",
            code="invalid_time_range",
            errors=[FieldError("/since", "before until")],
        )


def _read(session: Session, wanted: LedgerQuery, *, limit: int, after: int | None) -> list[Entry]:
    return entries(
        session,
        current_tenant(),
        limit=limit,
        after=after,
        kind=wanted.kind,
        since=wanted.since,
        until=wanted.until,
    )


def _as_file(session: Session, wanted: LedgerQuery) -> Response:
    def lines() -> Iterator[dict[str, Any]]:
        after = wanted.after
        while found := _read(session, wanted, limit=CSV_PAGE_ROWS, after=after):
            yield from map(_entry_view, found)
            after = found[-1].id

    file = TemporaryFile()  # noqa: SIM115 - closed when it has been sent
    write_csv(file, lines(), columns=tuple(LedgerEntry.model_fields))
    return sent(file, ReportFormat.CSV, name="ledger")


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
