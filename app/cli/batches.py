"""`pixelmeter batches` and `pixelmeter batch`."""

import json
from pathlib import Path

import click

from app.cli.access import open_client
from app.cli.batch_follow import follow, report, went_well
from app.cli.batch_table import print_batches
from app.cli.context import Context, pass_context
from app.cli.examples import examples


class ShowingGroup(click.Group):
    """`batch ID` is `batch show ID`: a first word that is no command is an id."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the name of the command in front that was left out."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().parse_args(ctx, args)


@click.command(short_help="List batches, newest first.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@pass_context
def batches(context: Context, *, limit: int) -> None:
    """List batches, newest first: how many items succeeded, what they cost."""
    with open_client(context) as client:
        found = list(client.batches(limit=limit))
    if found:
        print_batches(context.console, found)
    else:
        context.console.print("No batches.")


@click.group(
    cls=ShowingGroup,
    short_help="Show, cancel or retry a batch.",
    epilog=examples(
        "pixelmeter batch batch_01... --wait",
        "pixelmeter batch retry batch_01...",
        "pixelmeter batch cancel batch_01...",
    ),
)
def batch() -> None:
    """Show a batch by its id, cancel it, or try again what failed in it."""


@batch.command(short_help="Show a batch; the word may be left out.")
@click.argument("batch_id")
@click.option("--wait", is_flag=True, help="Follow it until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="As the API tells it.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save the results in this folder.",
)
@pass_context
def show(context: Context, *, batch_id: str, wait: bool, as_json: bool, out: Path | None) -> None:
    """Show every item of a batch, what it cost, and why it failed if it did."""
    with open_client(context) as client:
        if wait:
            found = follow(context.console, client, batch_id, names={})
        else:
            found = client.batch(batch_id)
        if as_json:
            click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        else:
            report(context.console, client, found, names={}, out=out)
    if wait and not went_well(found):
        raise SystemExit(1)


@batch.command(short_help="Stop a batch.")
@click.argument("batch_id")
@pass_context
def cancel(context: Context, *, batch_id: str) -> None:
    """Stop a batch: what waits costs nothing, what runs stops and costs what it had measured."""
    with open_client(context) as client:
        found = client.cancel_batch(batch_id)
    context.console.print(f"{found['id']} is {found['status']}.")


@batch.command(short_help="Try again what failed.")
@click.argument("batch_id")
@click.option("--wait", is_flag=True, help="Follow the new batch until it has ended.")
@pass_context
def retry(context: Context, *, batch_id: str, wait: bool) -> None:
    """Make another batch of the items that failed, expired or were refused."""
    with open_client(context) as client:
        made = client.retry_batch(batch_id)
        context.console.print(f"{made['id']} tries {made['total']} items again.")
        if wait:
            made = follow(context.console, client, made["id"], names={})
            report(context.console, client, made, names={}, out=None)
    if wait and not went_well(made):
        raise SystemExit(1)
