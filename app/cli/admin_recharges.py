"""`pixelmeter admin recharge`, `recharge-bulk`, `approve`, `reject`, `approvals`.

These go through the API with an admin key, because who you are matters: what one operator asks for
another has to approve.
"""

from pathlib import Path
from typing import Any

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from app.cli.access import open_operator
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import tokens_text

FAILED_SHOWN_MAX = 20


@click.command(
    name="recharge",
    short_help="Give tokens to users.",
    epilog=examples("pixelmeter admin recharge acme globex 500 --reason 'spring gift'"),
)
@click.argument("users", nargs=-1, required=True, metavar="USER...")
@click.argument("tokens", type=float)
@click.option("--reason", required=True, help="Why; it stands in the log.")
@click.option("--operator", default="command line", show_default=True, help="A label for the log.")
@click.option("--atomic", is_flag=True, help="All or nothing.")
@pass_context
def recharge(
    context: Context,
    *,
    tokens: float,
    users: tuple[str, ...],
    reason: str,
    operator: str,
    atomic: bool,
) -> None:
    """Give each USER (name or id of a tenant) TOKENS."""
    order = {
        "users": list(users),
        "amount": tokens,
        "operator": operator,
        "reason": reason,
        "mode": "atomic" if atomic else "partial",
    }
    with open_operator(context) as api:
        made = api.recharge(order)
    _show(context, made)


@click.command(
    name="recharge-bulk",
    short_help="Give tokens as a CSV says.",
    epilog=examples(
        "pixelmeter admin recharge-bulk may.csv --reason may --dry-run",
        "pixelmeter admin recharge-bulk may.csv --reason may",
    ),
)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--reason", required=True, help="Why; it stands in the log.")
@click.option("--operator", default="command line", show_default=True, help="A label for the log.")
@click.option("--atomic", is_flag=True, help="All or nothing.")
@click.option("--dry-run", is_flag=True, help="Say what would happen; book nothing.")
@click.option("--repeat", is_flag=True, help="Book a file once more that was booked before.")
@pass_context
def recharge_bulk(
    context: Context,
    *,
    file: Path,
    reason: str,
    operator: str,
    atomic: bool,
    dry_run: bool,
    repeat: bool,
) -> None:
    """Give tokens as FILE says: a CSV with the columns user,amount[,expires_at].

    The same file is booked once, however often it is sent.
    """
    fields = {
        "reason": reason,
        "operator": operator,
        "mode": "atomic" if atomic else "partial",
        "dry_run": "true" if dry_run else "false",
        "repeat": "true" if repeat else "false",
    }
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with open_operator(context) as api, Progress(*columns, console=context.console) as progress:
        bar = progress.add_task(file.name, total=file.stat().st_size)
        made = api.recharge_file(
            file, fields, sent=lambda sent: progress.update(bar, completed=sent)
        )
    _show(context, made)


@click.command(name="approvals", short_help="What waits for a second operator.")
@click.option("--all", "show_all", is_flag=True, help="Decided ones too.")
@pass_context
def approvals(context: Context, *, show_all: bool) -> None:
    """List what waits for a second operator, newest first."""
    with open_operator(context) as api:
        found = api.approvals(status=None if show_all else "pending")
    if not found:
        click.echo("Nothing waits for a second operator.")
    for each in found:  # plain lines: a table would cut the ids that the next command needs
        click.echo(
            f"{each['id']}  {each['status']:<8}  {each['kind']} of {each['subject']}, "
            f"asked by {each['maker']}, until {each['expires_at']}"
        )


@click.command(name="approve", short_help="Agree as a second operator.")
@click.argument("decision_id", metavar="ID")
@pass_context
def approve(context: Context, *, decision_id: str) -> None:
    """Agree to an approval (apr_...) or recharge (rch_...) that somebody else asked for."""
    with open_operator(context) as api:
        done = api.approve(decision_id)
    click.echo(f"{decision_id} is {done['status']}.")


@click.command(name="reject", short_help="Say no as a second operator.")
@click.argument("decision_id", metavar="ID")
@click.option("--reason", default="", help="Why not.")
@pass_context
def reject(context: Context, *, decision_id: str, reason: str) -> None:
    """Say no to an approval or recharge, or take back what you asked for."""
    with open_operator(context) as api:
        done = api.reject(decision_id, reason=reason)
    click.echo(f"{decision_id} is {done['status']}.")


def _show(context: Context, made: dict[str, Any]) -> None:
    say = context.console.print
    say(f"{made['id'] or 'dry run':<32} {made['status']}")
    say(f"{'rows':<12} {made['users']:>12}")
    say(f"{'right':<12} {made['users'] - made['failed']:>12}")
    say(f"{'wrong':<12} {made['failed']:>12}")
    say(f"{'tokens':<12} {tokens_text(made['tokens']):>12}")
    for each in made["failed_users"][:FAILED_SHOWN_MAX]:
        say(f"  row {each['row']}: {each['user']!r}: {each['reason']}", markup=False)
    if made["failed"] > FAILED_SHOWN_MAX:
        say(f"  and {made['failed'] - FAILED_SHOWN_MAX} more")
    if made["status"] == "pending_approval":
        say(f"Another operator has to agree: pixelmeter admin approve {made['id']}")
    elif made["needs_approval"] and made["status"] == "dry_run":
        say("Another operator would have to agree.")
