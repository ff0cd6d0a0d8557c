"""A monthly statement: as a document, as a paper, as CSV. Pure."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import Any
from zoneinfo import ZoneInfo

from app.documents.paper import Column, Paper, PaperTable, amount_text
from billing.amounts import to_number
from billing.statements import Entry, Movement, Statement

CSV_COLUMNS = ("at", "kind", "ref", "tokens", "balance_after")
# A cell that begins so is run as a formula by spreadsheet programs.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def statement_document(found: Statement, *, month: str, zone: str) -> dict[str, Any]:
    """The statement as JSON; tokens are numbers."""
    return {
        "object": "statement",
        "tenant": found.tenant,
        "month": month,
        "zone": zone,
        "start": found.start.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "end": found.end.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "opening_balance": to_number(found.opening),
        "closing_balance": to_number(found.closing),
        "movements": [_movement(each) for each in found.movements],
        "days": [
            {
                "day": str(each.day),
                **_movement(each),
                "balance_after": to_number(each.balance_after or 0),
            }
            for each in found.days
        ],
    }


def statement_paper(found: Statement, *, name: str, month: str, zone: str) -> Paper:
    """The statement for people."""
    start, end = (
        f"{moment.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}" for moment in (found.start, found.end)
    )
    return Paper(
        title="Statement of tokens",
        subtitle=month,
        headline=("Closing balance, tokens", _tokens(found.closing)),
        facts=(
            ("Customer", name),
            ("Customer id", found.tenant),
            ("Month", f"{month} ({zone})"),
            ("Period", f"{start} to {end}"),
        ),
        tables=(_summary(found), _days(found)),
        notes=(
            (
                "The balance is what is available and what running jobs hold, less what is owed."
                " Holding tokens and releasing them moves nothing of it."
            ),
        ),
    )


def statement_csv(entries: Iterable[Entry]) -> Iterator[str]:
    """Every booking as a line of CSV; times in UTC, cells that could be formulas are quoted."""
    yield _csv_line(CSV_COLUMNS)
    for entry in entries:
        yield _csv_line(
            (
                entry.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
                entry.kind,
                _harmless(entry.ref),
                str(to_number(entry.tokens)),
                str(to_number(entry.balance_after)),
            )
        )


def _summary(found: Statement) -> PaperTable:
    rows = [("Opening balance", "", _tokens(found.opening))]
    rows += [
        (each.kind, amount_text(each.entries), _tokens(each.tokens)) for each in found.movements
    ]
    return PaperTable(
        title="Summary",
        columns=(
            Column("", weight=3),
            Column("Bookings", "right", 1),
            Column("Tokens", "right", 2),
        ),
        rows=tuple(rows),
        total=("Closing balance", "", _tokens(found.closing)),
    )


def _days(found: Statement) -> PaperTable:
    return PaperTable(
        title="Day by day",
        columns=(
            Column("Day", weight=1.4),
            Column("Kind", weight=1.6),
            Column("Bookings", "right", 1),
            Column("Tokens", "right", 2),
            Column("Balance after", "right", 2),
        ),
        rows=tuple(
            (
                str(each.day),
                each.kind,
                amount_text(each.entries),
                _tokens(each.tokens),
                _tokens(each.balance_after or 0),
            )
            for each in found.days
        ),
        empty="Nothing moved the balance in this month.",
    )


def _movement(each: Movement) -> dict[str, Any]:
    return {"kind": each.kind, "entries": each.entries, "tokens": to_number(each.tokens)}


def _tokens(amount: int) -> str:
    return amount_text(to_number(amount))


def _harmless(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()
