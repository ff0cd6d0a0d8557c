"""`pixelmeter caps`: how much may be spent, and how much of it is."""

from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from app.cli.access import open_client
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import tokens_text
from billing.caps import Scope
from billing.windows import Period

Cap = Mapping[str, Any]
SCOPES = click.Choice([scope.value for scope in Scope])
WINDOWS = click.Choice([period.value for period in Period])


@click.group(invoke_without_command=True, short_help="Show and set limits of spending.")
@click.pass_context
def caps(ctx: click.Context) -> None:
    """Show the caps in force and how full they are; `set` and `end` change your own."""
    if ctx.invoked_subcommand is None:
        context: Context = ctx.obj
        with open_client(context) as client:
            show_caps(context.console, client.caps())


@caps.command(
    name="set",
    short_help="Set a cap of your own.",
    epilog=examples(
        "pixelmeter caps set 500 --window day",
        "pixelmeter caps set 100 --window month --scope project --of web",
        "pixelmeter caps set 20 --window day --scope end_user --of '*'",
    ),
)
@click.argument("tokens", type=float)
@click.option("--window", type=WINDOWS, required=True, help="In your tenant's zone.")
@click.option("--scope", type=SCOPES, default="tenant", show_default=True)
@click.option("--of", "subject", help="Which project, key or end user; * for each of them.")
@pass_context
def set_command(
    context: Context, *, tokens: float, window: str, scope: str, subject: str | None
) -> None:
    """Let at most TOKENS be spent in each window; the same again changes the limit."""
    wish = {"scope": scope, "subject": subject, "window": window, "limit": tokens}
    with open_client(context) as client:
        show_caps(context.console, [client.set_cap(wish)])


@caps.command(name="end", short_help="Take a cap of your own away.")
@click.argument("cap_id")
@pass_context
def end_command(context: Context, *, cap_id: str) -> None:
    """Take the cap with this id away."""
    with open_client(context) as client:
        client.end_cap(cap_id)
    click.echo(f"The cap {cap_id} is gone.")


def show_caps(console: Console, found: Sequence[Cap]) -> None:
    """A table of caps."""
    if not found:
        console.print("There are no caps.")
        return
    table = Table(
        *("id", "of", "window", "limit", "used", "reserved", "left", "starts anew", "set by"),
        box=None,
    )
    for cap in found:
        numbers = (tokens_text(cap[name]) for name in ("limit", "used", "reserved", "remaining"))
        table.add_row(
            *(cap["id"], _whose(cap), cap["window"]), *numbers, cap["starts_anew"], cap["set_by"]
        )
    console.print(table)


def _whose(cap: Cap) -> str:
    if cap["subject"] is None:
        return "tenant"
    fullest = f" (fullest: {cap['fullest']})" if cap["fullest"] else ""
    return f"{cap['scope']} {cap['name'] or cap['subject']}{fullest}"
