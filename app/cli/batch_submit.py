"""Several files for one engine: uploaded one by one, sent as one batch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.progress import track

from app.cli.batch_follow import follow, report, went_well
from app.cli.context import Context
from app.cli.job_body import JobChoices, job_body, upload_sources
from app.cli.job_table import tokens_text
from app.client.client import Client
from app.client.errors import ClientError


def submit_batch(
    context: Context,
    client: Client,
    choices: JobChoices,
    files: tuple[Path, ...],
    *,
    wait: bool,
    out: Path | None,
) -> bool:
    """Send FILES as one batch and follow it; returns whether all went well.

    A file that is refused does not keep the others from being sent.
    """
    uploaded, refused = _uploaded(context, client, files)
    for path, error in refused.items():
        click.echo(f"pixelmeter: {path}: {error}", err=True)
    if not uploaded:
        return False
    names = {index: str(path) for index, path in enumerate(uploaded)}
    made = client.submit_batch(_body(client, choices, list(uploaded.values())))
    tokens, seconds = tokens_text(made["tokens_quoted"]), made["estimated_seconds"]
    context.console.print(
        f"{made['id']}: {made['total']} items, at most {tokens} tokens, "
        f"about {seconds:.1f} s of work ({made['estimate_basis']})."
    )
    if wait:
        made = follow(context.console, client, made["id"], names=names)
    report(context.console, client, made, names=names, out=out)
    return not refused and (went_well(made) if wait else made["counts"]["invalid"] == 0)


def _body(client: Client, choices: JobChoices, targets: list[str]) -> dict[str, Any]:
    references = upload_sources(client, choices)
    alike = replace(choices, webhook=None)
    bodies = [job_body(alike, target=target, sources=references) for target in targets]
    body: dict[str, Any] = {
        "defaults": {name: value for name, value in bodies[0].items() if name != "input"},
        "items": [{"input": each["input"]} for each in bodies],
        "on_invalid": "skip",
    }
    if choices.webhook is not None:
        body["webhook"] = {"url": choices.webhook}
    return body


def _uploaded(
    context: Context, client: Client, files: tuple[Path, ...]
) -> tuple[dict[Path, str], dict[Path, ClientError]]:
    """File ids by path, and what was refused."""
    uploaded: dict[Path, str] = {}
    refused: dict[Path, ClientError] = {}
    for path in track(files, "Uploading", console=context.console, transient=True):
        try:
            uploaded[path] = client.upload(path)["id"]
        except ClientError as error:
            refused[path] = error
    return uploaded, refused
