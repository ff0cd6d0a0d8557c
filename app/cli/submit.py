"""`pixelmeter submit` and `pixelmeter quote`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from app.cli.access import open_client
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_body import JobChoices, job_body, parse_params, upload_sources
from app.cli.job_table import JobProgress, print_jobs, tokens_text
from app.cli.results import save_outputs
from app.client.client import Client
from app.client.errors import ClientError

EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Decorated = Callable[..., Any]


def _job_options(command: Decorated) -> Decorated:
    """The arguments that `submit` and `quote` share."""
    for decorate in reversed(
        (
            click.argument("engine"),
            click.argument("files", nargs=-1, required=True, type=EXISTING_FILE, metavar="FILE..."),
            click.option(
                "--source",
                "sources",
                multiple=True,
                type=EXISTING_FILE,
                help="The face to take; may be given several times.",
            ),
            click.option("--model", help="A model as in `models list`, for example yolov8n."),
            click.option(
                "--param",
                "params",
                multiple=True,
                metavar="NAME=VALUE",
                help="A parameter of the engine; a value that is JSON is read as JSON.",
            ),
        )
    ):
        command = decorate(command)
    return command


@click.command(
    short_help="Send files through an engine.",
    epilog=examples(
        "pixelmeter submit detect photo.jpg --param annotate=true --out results",
        "pixelmeter submit detect clip.mp4 --model yolov8n --param conf=0.4 --wait",
        "pixelmeter submit colorize old.png --param type=building --out results",
        "pixelmeter submit face-swap group.jpg --source me.jpg --param faces=many --out results",
    ),
)
@_job_options
@click.option(
    "--priority",
    type=click.Choice(["interactive", "normal", "bulk", "nightly"]),
    default="normal",
    show_default=True,
)
@click.option("--quota", type=float, help="Refuse when a job's quote is higher, in tokens.")
@click.option("--webhook", metavar="URL", help="Where the signed event of each job goes.")
@click.option("--consent", is_flag=True, help="The persons shown agreed (face jobs).")
@click.option(
    "--cache/--no-cache",
    default=True,
    help="Whether an equal job of the last 24 hours may answer, free of charge.",
)
@click.option("--wait", is_flag=True, help="Wait until every job is settled.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Wait, and save the results in this folder.",
)
@pass_context
def submit(
    context: Context,
    *,
    engine: str,
    files: tuple[Path, ...],
    sources: tuple[Path, ...],
    model: str | None,
    params: tuple[str, ...],
    priority: str,
    quota: float | None,
    webhook: str | None,
    consent: bool,
    cache: bool,
    wait: bool,
    out: Path | None,
) -> None:
    """Send FILES through ENGINE (detect, colorize, face-swap), one job each.

    Exit code 0 only if every file was accepted and, when waiting, every job succeeded.
    """
    choices = JobChoices(
        engine=engine,
        model=model,
        params=parse_params(params),
        sources=sources,
        priority=priority,
        token_quota=quota,
        webhook=webhook,
        consent=consent,
        cache=cache,
    )
    with open_client(context) as client:
        accepted, refused = _submit_all(client, choices, files)
        if wait or out is not None:
            done = _follow(context, client, accepted)
        else:
            done = {job["id"]: job for job in accepted.values()}
        names = {job["id"]: path for path, job in accepted.items()}
        outputs: dict[str, list[str]] = {}
        if out is not None:
            outputs = {
                job_id: [str(p) for p in save_outputs(client, job, out, stem=names[job_id].stem)]
                for job_id, job in done.items()
            }
    if done:
        print_jobs(context.console, done.values(), outputs=outputs)
    for path, error in refused.items():
        click.echo(f"pixelmeter: {path}: {error}", err=True)
    failed = any(job["status"] in {"failed", "canceled", "expired"} for job in done.values())
    if refused or failed:
        raise SystemExit(1)


@click.command(
    short_help="Say what a job would cost at most.",
    epilog=examples(
        "pixelmeter quote detect clip.mp4 --model yolov8s",
        "pixelmeter quote face-swap group.jpg --source me.jpg --param faces=many --lines",
    ),
)
@_job_options
@click.option("--lines", is_flag=True, help="Show what each price is made of.")
@pass_context
def quote(
    context: Context,
    *,
    engine: str,
    files: tuple[Path, ...],
    sources: tuple[Path, ...],
    model: str | None,
    params: tuple[str, ...],
    lines: bool,
) -> None:
    """Say what FILES through ENGINE would cost at most, without running anything."""
    choices = JobChoices(engine=engine, model=model, params=parse_params(params), sources=sources)
    table = Table("file", "tokens at most", "rate card", box=None)
    total = 0.0
    with open_client(context) as client:
        references = upload_sources(client, choices)
        for path in files:
            target = client.upload(path)["id"]
            answer = client.quote(job_body(choices, target=target, sources=references))
            total += answer["max_tokens"]
            table.add_row(str(path), tokens_text(answer["max_tokens"]), answer["rate_card"])
            for line in answer["terms"] if lines else ():
                what = f"  {line['name']}, {line['quantity']:g} x {line['unit']}"
                table.add_row(what, tokens_text(line["tokens"]), "")
        balance = client.balance()["available"]
    context.console.print(table)
    enough = "enough" if total <= balance else "not enough"
    context.console.print(
        f"{tokens_text(total)} tokens at most; the balance of {tokens_text(balance)} is {enough}."
    )


def _submit_all(
    client: Client, choices: JobChoices, files: tuple[Path, ...]
) -> tuple[dict[Path, dict[str, Any]], dict[Path, ClientError]]:
    """Submit a job per file; a refused file does not keep the others from being sent."""
    references = upload_sources(client, choices)
    accepted: dict[Path, dict[str, Any]] = {}
    refused: dict[Path, ClientError] = {}
    for path in files:
        try:
            target = client.upload(path)["id"]
            accepted[path] = client.submit(job_body(choices, target=target, sources=references))
        except ClientError as error:
            refused[path] = error
    return accepted, refused


def _follow(
    context: Context, client: Client, accepted: dict[Path, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Show a bar per job until all are settled; returns the jobs as they ended."""
    with JobProgress(context.console) as progress:
        for path, job in accepted.items():
            progress.add(job, path.name)
        ids = [job["id"] for job in accepted.values()]
        return client.wait_all(ids, progress=progress.show)
