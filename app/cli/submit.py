"""`pixelmeter submit` and `pixelmeter quote`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from app.cli.access import open_client
from app.cli.batch_submit import submit_batch
from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_body import JobChoices, job_body, parse_params, upload_sources
from app.cli.job_table import JobProgress, print_jobs, tokens_text
from app.cli.results import save_outputs
from app.cli.uploading import upload_shown
from app.client.client import Client
from app.client.errors import ClientError

WAIT_S = 3600.0
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
        "pixelmeter submit colorize *.png --param type=building --out results",
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
@click.option(
    "--segments",
    type=click.IntRange(1, 64),
    help="Parts of a video that run side by side; 1: one run.  [default: by its length]",
)
@click.option("--quota", type=float, help="Refuse when a job's quote is higher, in tokens.")
@click.option("--webhook", metavar="URL", help="Where the signed event of the end goes.")
@click.option("--consent", is_flag=True, help="The persons shown agreed (face jobs).")
@click.option(
    "--cache/--no-cache",
    default=True,
    help="Whether an equal job of the last 24 hours may answer, free of charge.",
)
@click.option(
    "--wait/--no-wait",
    default=None,
    help="Follow until everything is settled.  [default: wait if there are several files]",
)
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
    segments: int | None,
    quota: float | None,
    webhook: str | None,
    consent: bool,
    cache: bool,
    wait: bool | None,
    out: Path | None,
) -> None:
    """Send FILES through ENGINE (detect, colorize, face-swap), several as one batch.

    Exit code 0 only if every file was accepted and, when waiting, every job succeeded.
    """
    choices = JobChoices(
        engine=engine,
        model=model,
        params=parse_params(params),
        sources=sources,
        priority=priority,
        segments=segments,
        token_quota=quota,
        webhook=webhook,
        consent=consent,
        cache=cache,
    )
    waits = out is not None or (len(files) > 1 if wait is None else wait)
    with open_client(context) as client:
        if len(files) > 1:
            went_well = submit_batch(context, client, choices, files, wait=waits, out=out)
        else:
            went_well = _submit_one(context, client, choices, files[0], wait=waits, out=out)
    if not went_well:
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
    table = Table("file", "tokens at most", "likely", "seconds", "rate card", box=None)
    total = 0.0
    with open_client(context) as client:
        references = upload_sources(client, choices)
        for path in files:
            target = upload_shown(context.console, client, path)
            answer = client.quote(job_body(choices, target=target, sources=references))
            total += answer["max_tokens"]
            table.add_row(
                str(path),
                tokens_text(answer["max_tokens"]),
                tokens_text(answer["estimated_tokens"]),
                f"{answer['estimated_seconds']:.1f} ({answer['estimate_basis']})",
                answer["rate_card"],
            )
            for line in answer["terms"] if lines else ():
                what = f"  {line['name']}, {line['quantity']:g} x {line['unit']}"
                table.add_row(what, tokens_text(line["tokens"]))
        balance = client.balance()["available"]
    context.console.print(table)
    enough = "enough" if total <= balance else "not enough"
    context.console.print(
        f"{tokens_text(total)} tokens at most; the balance of {tokens_text(balance)} is {enough}."
    )


def _submit_one(
    context: Context,
    client: Client,
    choices: JobChoices,
    path: Path,
    *,
    wait: bool,
    out: Path | None,
) -> bool:
    """Submit one job and follow it; returns whether it went well."""
    references = upload_sources(client, choices)
    try:
        target = upload_shown(context.console, client, path)
        job = client.submit(job_body(choices, target=target, sources=references))
    except ClientError as error:
        click.echo(f"pixelmeter: {path}: {error}", err=True)
        return False
    if wait:
        with JobProgress(context.console) as progress:
            progress.add(job, path.name)
            job = client.wait(job["id"], timeout_s=WAIT_S, progress=progress.show)
    saved = [] if out is None else save_outputs(client, job, out, stem=path.stem)
    print_jobs(context.console, [job], outputs={job["id"]: [str(each) for each in saved]})
    return job["status"] not in {"failed", "canceled", "expired"}
