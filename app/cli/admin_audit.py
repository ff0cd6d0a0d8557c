"""`pixelmeter admin audit`: the log of admin actions and money journals, and its proof."""

import json
import re

import click
from rich.table import Table

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.on_database import transaction
from billing.audit import Head, entries, verify


@click.group(name="audit", short_help="Who did what, and the proof of it.")
def audit() -> None:
    """Read and verify the log of admin actions and money journals, which is one hash chain."""


@audit.command(
    name="verify",
    short_help="Compute the chain again; name the first broken row.",
    epilog=examples(
        "pixelmeter admin audit verify",
        "pixelmeter admin audit verify --kept 1200:3f5a...    # a head printed earlier",
    ),
)
@click.option(
    "--kept",
    metavar="SEQ:DIGEST",
    help="The head that an earlier run printed: finds rows cut off the end as well.",
)
@pass_context
def verify_command(context: Context, *, kept: str | None) -> None:
    """Verify every row against what was recorded; exit code 1 if one is broken or missing."""
    head = None if kept is None else _head(kept)
    with transaction(context) as session:
        found = verify(session, kept=head)
    if found.breaks:
        click.echo(f"BROKEN at {found.breaks[0]}")
        for later in found.breaks[1:]:
            click.echo(f"    then {later}")
        raise SystemExit(1)
    click.echo(f"{found.rows} rows are as they were recorded; {found.waiting} journals wait.")
    click.echo(f"head {found.head.seq}:{found.head.digest}")


@audit.command(name="list", short_help="Show the log, newest first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.option("--actor", help="Only what this key or person did.")
@click.option("--journals", is_flag=True, help="Money journals instead of admin actions.")
@pass_context
def list_command(context: Context, *, limit: int, actor: str | None, journals: bool) -> None:
    """Show what operators did, or what was booked."""
    kind = "journal" if journals else "action"
    with transaction(context) as session:
        rows = entries(session, limit=limit, kind=kind, actor=actor)
    table = Table("row", "at", "actor", "action", "subject", "detail", box=None)
    for row in rows:
        at = row.at.isoformat(timespec="seconds")
        detail = json.dumps(row.detail, ensure_ascii=False)
        table.add_row(str(row.seq), at, row.actor, row.action, row.subject, detail)
    context.console.print(table)


def _head(text: str) -> Head:
    parts = re.fullmatch(r"(\d{1,18}):([0-9a-f]{64})", text)
    if parts is None:
        message = "is SEQ:DIGEST as `verify` prints it"
        raise click.BadParameter(message, param_hint="--kept")
    return Head(int(parts[1]), parts[2])
