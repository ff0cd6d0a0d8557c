"""`pixelmeter invoices` and `statement`."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.table import Table

from app.cli.access import open_client
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import tokens_text


@click.command(
    short_help="List invoices, or save one as PDF.",
    epilog=examples(
        "pixelmeter invoices",
        "pixelmeter invoices PM-2026-000042 --out invoice.pdf",
    ),
)
@click.argument("number", required=False)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to save it; the ending decides: .pdf, .html or .json.",
)
@pass_context
def invoices(context: Context, *, number: str | None, out: Path | None) -> None:
    """List the invoices, show the lines of one, or save it with --out."""
    with open_client(context) as client:
        if number is not None and out is not None:
            path = f"/v1/invoices/{number}?format={_form(out, ('pdf', 'html', 'json'))}"
            click.echo(client.download(path, out))
            return
        if number is None:
            _list(context, list(client.invoices()))
            return
        found = client.invoice(number)
    table = Table("", "quantity", "unit price", f"amount, {found['currency']}", box=None)
    for line in found["lines"]:
        quantity = f"{line['quantity']} {line['unit']}"
        table.add_row(line["description"], quantity, line["unit_price"], line["amount"])
    context.console.print(table)
    context.console.print(f"{found['month']}  total {found['total']} {found['currency']}")


@click.command(
    short_help="Show a month of the wallet, or save it.",
    epilog=examples(
        "pixelmeter statement",
        "pixelmeter statement 2026-10 --out october.csv",
    ),
)
@click.argument("month", required=False)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to save it; the ending decides: .pdf, .html, .csv or .json.",
)
@pass_context
def statement(context: Context, *, month: str | None, out: Path | None) -> None:
    """Show what moved the balance in MONTH (such as 2026-10; default: this one, in UTC)."""
    month = month or f"{datetime.now(UTC):%Y-%m}"
    with open_client(context) as client:
        if out is not None:
            form = _form(out, ("pdf", "html", "csv", "json"))
            click.echo(client.download(f"/v1/statements/{month}?format={form}", out))
            return
        found = client.statement(month)
    table = Table("", "bookings", "tokens", box=None)
    table.add_row("opening balance", "", tokens_text(found["opening_balance"]))
    for each in found["movements"]:
        table.add_row(each["kind"], str(each["entries"]), tokens_text(each["tokens"]))
    table.add_row("closing balance", "", tokens_text(found["closing_balance"]))
    context.console.print(table)


def _list(context: Context, found: list[dict[str, str]]) -> None:
    if not found:
        context.console.print("There are no invoices yet.")
        return
    table = Table("number", "month", "total", "issued", box=None)
    for each in found:
        total = f"{each['total']} {each['currency']}"
        table.add_row(each["number"], each["month"], total, each["issued_at"])
    context.console.print(table)


def _form(path: Path, known: tuple[str, ...]) -> str:
    form = path.suffix.removeprefix(".").lower()
    if form not in known:
        message = f"{path.name}: the ending is one of {', '.join(known)}"
        raise click.BadParameter(message)
    return form
