"""The body of a job from command line arguments."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from app.client.client import Client


@dataclass(frozen=True, slots=True)
class JobChoices:
    """What the options of `submit` and `quote` say, the same for every file."""

    engine: str
    model: str | None
    params: dict[str, Any]
    sources: tuple[Path, ...] = ()
    priority: str = "normal"
    segments: int | None = None
    token_quota: float | None = None
    webhook: str | None = None
    consent: bool = False
    cache: bool = True


def parse_params(texts: Sequence[str]) -> dict[str, Any]:
    """Read ``k=v`` pairs; a value that is JSON is that value, any other is text.

    Raises:
        click.BadParameter: a pair without ``=``.
    """
    params = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            message = f"{text!r} is not NAME=VALUE; for example --param conf=0.4"
            raise click.BadParameter(message)
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
    return params


def upload_sources(client: Client, choices: JobChoices) -> list[dict[str, str]]:
    """Upload the source files once for all jobs; returns references."""
    return [{"file": client.upload(path)["id"]} for path in choices.sources]


def job_body(
    choices: JobChoices, *, target: str, sources: Sequence[dict[str, str]]
) -> dict[str, Any]:
    """The JSON of one job; ``target`` is the id of an uploaded file."""
    inputs: dict[str, Any] = {"target": {"file": target}}
    if sources:
        inputs["source"] = list(sources)
    body: dict[str, Any] = {
        "engine": choices.engine,
        "input": inputs,
        "params": choices.params,
        "priority": choices.priority,
    }
    if choices.model is not None:
        body["model"] = choices.model
    if choices.segments is not None:
        body["segments"] = choices.segments
    if choices.token_quota is not None:
        body["token_quota"] = choices.token_quota
    if choices.webhook is not None:
        body["webhook"] = {"url": choices.webhook}
    if choices.consent:
        body["consent"] = True
    if not choices.cache:
        body["cache"] = False
    return body
