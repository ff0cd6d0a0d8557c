"""An invoice as a paper, from the body that was stored when it was issued. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.documents.paper import Column, Paper, PaperTable, amount_text
from billing.amounts import from_number, to_number

_ABOUT_AMOUNTS = (
    "Each band of tokens is charged at its own price. Amounts are exact; only the total is rounded,"
    " half up to 2 decimals."
)
_ABOUT_GRANTS = (
    "Tokens drawn from grants, packs and subscriptions were paid for or given before: the table of"
    " usage tells of them and they cost nothing more."
)


def invoice_paper(body: Mapping[str, Any]) -> Paper:
    """Everything that the invoice says; two renderings of one invoice say the same."""
    currency = body["currency"]
    return Paper(
        title="Invoice",
        subtitle=body["number"],
        headline=(f"Total, {currency}", amount_text(body["total"])),
        facts=(
            ("Customer", body["name"]),
            ("Customer id", body["tenant"]),
            ("Month", f"{body['month']} ({body['zone']})"),
            ("Period", _period(body)),
            ("Issued", _local(body["issued_at"], body["zone"])),
            ("Billing", f"{body['mode']}, price list {body['price_list']}"),
        ),
        tables=(_lines(body), _usage(body)),
        notes=(_ABOUT_AMOUNTS, _ABOUT_GRANTS),
    )


def _lines(body: Mapping[str, Any]) -> PaperTable:
    rows = tuple(
        (
            line["description"],
            f"{amount_text(line['quantity'])} {line['unit']}{_plural(line['quantity'])}",
            amount_text(line["unit_price"]),
            amount_text(line["amount"]),
        )
        for line in body["lines"]
    )
    return PaperTable(
        title="Charges",
        columns=(
            Column("Description", weight=3.4),
            Column("Quantity", "right", 2.0),
            Column(f"Unit price, {body['currency']}", "right", 1.5),
            Column(f"Amount, {body['currency']}", "right", 1.7),
        ),
        rows=rows,
        total=("Total", "", "", amount_text(body["total"])),
        empty="Nothing was charged in this month.",
    )


def _usage(body: Mapping[str, Any]) -> PaperTable:
    rows = tuple(
        (
            row["engine"],
            row["model"],
            row["rate_card"],
            amount_text(row["jobs"]),
            amount_text(row["tokens"]),
        )
        for row in body["usage"]
    )
    jobs = sum(row["jobs"] for row in body["usage"])
    tokens = to_number(sum(from_number(row["tokens"]) for row in body["usage"]))
    return PaperTable(
        title="Usage",
        columns=(
            Column("Engine", weight=1.5),
            Column("Model", weight=2),
            Column("Rate card", weight=2),
            Column("Jobs", "right", 1.1),
            Column("Tokens", "right", 1.7),
        ),
        rows=rows,
        total=("All", "", "", amount_text(jobs), amount_text(tokens)) if rows else None,
        empty="No job was settled in this month.",
    )


def _period(body: Mapping[str, Any]) -> str:
    start, end = (_local(body["period"][name], body["zone"]) for name in ("start", "end"))
    return f"{start} to {end}"


def _local(moment: str, zone: str) -> str:
    return f"{datetime.fromisoformat(moment).astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"


def _plural(quantity: str) -> str:
    return "" if quantity == "1" else "s"
