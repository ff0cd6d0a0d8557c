"""`pixelmeter jobs`, `job` and `cancel`."""

import json
from pathlib import Path

import click

from app.cli.access import open_client
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import event_line, print_jobs
from app.cli.results import save_outputs


@click.command(
    short_help="List jobs, newest first.",
    epilog=examples(
        "pixelmeter jobs --status failed --engine detect",
    ),
)
@click.option("--status", help="Only jobs that stand so, for example failed.")
@click.option("--engine", help="Only jobs of this engine.")
@click.option("--model", help="Only jobs of this model.")
@click.option("--batch", help="Only jobs of this batch.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True)
@pass_context
def jobs(
    context: Context,
    *,
    status: str | None,
    engine: str | None,
    model: str | None,
    batch: str | None,
    limit: int,
) -> None:
    """List jobs, newest first: what ran, what it cost."""
    with open_client(context) as client:
        wanted = {"status": status, "engine": engine, "model": model, "batch": batch}
        found = list(client.jobs(limit=limit, **wanted))
    if found:
        print_jobs(context.console, found, outputs={})
    else:
        context.console.print("No jobs.")


@click.command(
    short_help="Show one job.",
    epilog=examples(
        "pixelmeter job job_01... --wait",
        "pixelmeter job job_01... --follow",
        "pixelmeter job job_01... --out results",
    ),
)
@click.argument("job_id")
@click.option("--wait", is_flag=True, help="Wait until it is settled.")
@click.option("--follow", is_flag=True, help="Tell what happens, as it happens, until then.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save its results in this folder.",
)
@pass_context
def job(context: Context, *, job_id: str, wait: bool, follow: bool, out: Path | None) -> None:
    """Show a job as the API tells it, in JSON."""
    with open_client(context) as client:
        for event in client.events(job_id) if follow else ():
            click.echo(event_line(event), err=True)
        found = client.wait(job_id) if wait else client.job(job_id)
        saved = [] if out is None else save_outputs(client, found, out, stem=job_id)
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    for path in saved:
        click.echo(f"saved {path}", err=True)


@click.command(short_help="Ask a job to stop.")
@click.argument("job_id")
@pass_context
def cancel(context: Context, *, job_id: str) -> None:
    """Ask a job to stop.

    A waiting job costs nothing; one that runs stops within about a second and costs what was
    measured until then.
    """
    with open_client(context) as client:
        found = client.cancel(job_id)
    context.console.print(f"{found['id']} is {found['status']}.")
