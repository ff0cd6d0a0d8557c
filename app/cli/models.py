"""`pixelmeter models`: the weights on this machine."""

from pathlib import Path

import click
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn
from rich.table import Table

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.model_export import export
from app.cli.models_build import build
from app.cli.models_calibrate import calibrate_device
from app.cli.models_convert import convert
from app.cli.models_list import list_models
from app.engine_room import open_engines
from engines.activation import activate, activate_previous
from engines.presence import Presence
from engines.registry import Registry

PRESENCE_STYLES = {
    Presence.OK: "green",
    Presence.MISSING: "yellow",
    Presence.CORRUPT: "bold red",
    Presence.UNREGISTERED: "dim",
}


@click.group(short_help="List, pull, verify and add models.")
def models() -> None:
    """Models and their weights on this machine.

    Weights are found in PIXELMETER_HOME/models, then in PIXELMETER_MODEL_MIRROR when that is a
    folder. Nothing is downloaded unless you ask for it with `pull`.
    """


for command in (list_models, build, calibrate_device, convert, export):
    models.add_command(command)


@models.command(
    short_help="Fetch a model's weights.",
    epilog=examples(
        "pixelmeter models pull yolov8n tiny",
    ),
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_context
def pull(context: Context, *, names: tuple[str, ...]) -> None:
    """Fetch the weights of models from PIXELMETER_MODEL_MIRROR or their publisher.

    Every file is checked against its registered SHA-256 before it is used.
    """
    registry = _registry(context)
    bars = Progress(TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    tasks: dict[str, TaskID] = {}

    def progress(file: str, done: int, total: int) -> None:
        if file not in tasks:
            tasks[file] = bars.add_task(file, total=total)
        bars.update(tasks[file], completed=done)

    with bars:
        pulled = [(name, registry.pull(name, progress)) for name in names]
    for name, paths in pulled:
        for path in paths:
            context.console.print(f"{name}: {path}", soft_wrap=True)
        if not paths:
            context.console.print(f"{name} is built in and has nothing to fetch.")


@models.command(short_help="Check every file against its SHA-256.")
@pass_context
def verify(context: Context) -> None:
    """Hash every weights file on this machine; exit code 1 if one is not what was registered."""
    verdicts = _registry(context).verify()
    table = Table("model", "file", "state", "detail", box=None)
    for verdict in verdicts:
        state = f"[{PRESENCE_STYLES[verdict.presence]}]{verdict.presence}[/]"
        table.add_row(verdict.model, verdict.file or "", state, verdict.detail)
    context.console.print(table)
    if any(verdict.presence is Presence.CORRUPT for verdict in verdicts):
        raise SystemExit(1)


@models.command(
    short_help="Register an ONNX file of yours.",
    epilog=examples(
        "pixelmeter models add yolov8s ./yolov8s.onnx --licence AGPL-3.0",
    ),
)
@click.argument("name")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--licence", required=True, help="The licence you hold the weights under.")
@click.option("--sha256", help="Refuse the file unless it has this digest.")
@click.option(
    "--activate/--no-activate",
    default=True,
    help="Whether the plain NAME means it at once, or only after `models activate`.",
)
@pass_context
def add(
    context: Context,
    *,
    name: str,
    file: Path,
    licence: str,
    sha256: str | None,
    activate: bool,
) -> None:
    """Register FILE as weights of the model NAME and copy it into PIXELMETER_HOME/models.

    Running processes see it at their next job.
    """
    registry = _registry(context)
    model = registry.add(name, file, licence=licence, sha256=sha256, activate=activate)
    context.console.print(f"Registered {model.id}; the next jobs can use it.")


@models.command(
    name="activate",
    short_help="Switch the version of a model for new jobs.",
    epilog=examples(
        "pixelmeter models activate detect yolov8n@2",
        "pixelmeter models activate detect yolov8n --previous",
    ),
)
@click.argument("engine")
@click.argument("model", metavar="NAME[@VERSION]")
@click.option("--previous", is_flag=True, help="Back to what NAME meant before.")
@pass_context
def activate_version(context: Context, *, engine: str, model: str, previous: bool) -> None:
    """Let the plain NAME of a model mean this VERSION for every new job.

    Nothing is restarted: running processes see it within two seconds. Jobs that were accepted
    before finish on the version they were accepted with.
    """
    registry = _registry(context)
    choice = (activate_previous if previous else activate)(registry, engine, model)
    context.console.print(
        f"{choice.model} of {engine} means {choice.model}@{choice.version} now "
        f"(before: {choice.model}@{choice.previous})."
    )


def _registry(context: Context) -> Registry:
    return open_engines(context.settings)
