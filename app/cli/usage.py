"""`pixelmeter usage`: what was used, as a table, a file or a picture."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from app.cli.access import open_client
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import tokens_text

Row = Mapping[str, Any]
BUCKETS = click.Choice(["1m", "1h", "1d", "all"])
FILTERS = ("project", "api_key", "end_user", "engine", "model", "device")
MEASURES = ("jobs", "tokens", "average_tokens", "gpu_ms", "failures", "cache_hits")
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    short_help="Report what was used, by time and by whom.",
    epilog=examples(
        "pixelmeter usage",
        "pixelmeter usage --bucket 1h --group-by engine,model --since 2026-01-01",
        "pixelmeter usage --group-by end_user --csv january.csv",
        "pixelmeter usage --group-by engine --plot usage.png",
    ),
)
@click.option("--since", type=click.DateTime(), help="In this machine's time; 30 days ago.")
@click.option("--until", type=click.DateTime(), help="Not included; now.")
@click.option("--bucket", type=BUCKETS, default="1d", show_default=True, help="In your zone.")
@click.option("--group-by", default="", help=f"Any of {', '.join(FILTERS)}; comma-separated.")
@click.option("--only", "filters", metavar="NAME=VALUE", multiple=True, help="One of the same.")
@click.option("--csv", "csv_file", type=FILE, help="Write the report here instead.")
@click.option("--parquet", "parquet_file", type=FILE, help="The same as Parquet.")
@click.option("--plot", "plot_file", type=FILE, help="Draw tokens over time as PNG.")
@pass_context
def usage(
    context: Context,
    *,
    since: datetime | None,
    until: datetime | None,
    bucket: str,
    group_by: str,
    filters: Sequence[str],
    csv_file: Path | None,
    parquet_file: Path | None,
    plot_file: Path | None,
) -> None:
    """Report jobs, tokens and GPU time; a job counts when it was settled."""
    query = {"bucket": bucket, "group_by": group_by, **_filters(filters)}
    query |= {
        name: moment.astimezone().isoformat()
        for name, moment in (("since", since), ("until", until))
        if moment is not None
    }
    files = [(path, kind) for path, kind in ((csv_file, "csv"), (parquet_file, "parquet")) if path]
    with open_client(context) as client:
        for path, kind in files:
            client.usage_file(path, format=kind, **query)
            click.echo(f"Wrote {path}.")
        if files and plot_file is None:
            return
        rows = list(client.usage(**query))
    if plot_file is not None:
        from app.cli.usage_plot import draw_usage  # noqa: PLC0415 - a second for matplotlib

        draw_usage(plot_file, rows, group_by=_names(group_by))
        click.echo(f"Wrote {plot_file}.")
        return
    show_usage(context.console, rows, group_by=_names(group_by))


def show_usage(console: Console, rows: Sequence[Row], *, group_by: Sequence[str]) -> None:
    """A table of usage with its sum in the last line."""
    if not rows:
        console.print("Nothing was used in this time.")
        return
    table = Table(box=None, show_footer=True)
    jobs, tokens = sum(row["jobs"] for row in rows), sum(row["tokens"] for row in rows)
    totals = {
        "jobs": jobs,
        "tokens": round(tokens, 6),
        "average_tokens": round(tokens / jobs, 6),
        **{name: sum(row[name] for row in rows) for name in ("gpu_ms", "failures", "cache_hits")},
    }
    table.add_column("start", "together", min_width=20)
    for name in group_by:
        table.add_column(name)
    for name in MEASURES:
        table.add_column(name.replace("_", " "), tokens_text(totals[name]), justify="right")
    for row in rows:
        names = (row[name] or "-" for name in group_by)
        table.add_row(row["start"], *names, *(tokens_text(row[name]) for name in MEASURES))
    console.print(table)


def _names(group_by: str) -> list[str]:
    return [name.strip() for name in group_by.split(",") if name.strip()]


def _filters(pairs: Sequence[str]) -> dict[str, str]:
    chosen = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found or name not in FILTERS:
            message = f"is NAME=VALUE with one of {', '.join(FILTERS)}"
            raise click.BadParameter(message, param_hint="--only")
        chosen[name] = value
    return chosen
