"""`pixelmeter balance` and `ledger`."""

import click
from rich.table import Table

from app.cli.access import open_client
from app.cli.context import Context, pass_context
from app.cli.job_table import tokens_text


@click.command(short_help="Show the tokens that are left.")
@pass_context
def balance(context: Context) -> None:
    """Show the tokens that are left, held for running jobs and owed, and their grants."""
    with open_client(context) as client:
        found = client.balance()
    say = context.console.print
    for name in ("available", "held", "debt"):
        say(f"{name:<10} {tokens_text(found[name]):>16}")
    table = Table("grant", "kind", "remaining", "expires", box=None)
    for grant in found["grants"]:
        remaining = tokens_text(grant["remaining"])
        table.add_row(grant["id"], grant["kind"], remaining, grant["expires_at"] or "never")
    say(table)


@click.command(short_help="Show the statement of the wallet.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@pass_context
def ledger(context: Context, *, limit: int) -> None:
    """Show the statement of the wallet, newest first: every grant, hold, charge and release."""
    with open_client(context) as client:
        entries = list(client.ledger(limit=limit))
    if not entries:
        context.console.print("The wallet has no entries.")
        return
    table = Table(*entries[0], box=None)
    for entry in entries:
        table.add_row(*(_cell(value) for value in entry.values()))
    context.console.print(table)


def _cell(value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return tokens_text(value)
    return "" if value is None else str(value)
