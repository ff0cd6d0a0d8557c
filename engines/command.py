"""The command line of the engines alone: no database, queue, web or price is needed or loaded."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.errors import EngineError
from engines.local_runs import LocalRuns, Ran
from engines.media.provenance import read_origin
from engines.progress_bar import RunBar
from engines.registry import Registry, Services, open_registry
from engines.targets import expand

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group()
@click.option(
    "--home",
    type=_FOLDER,
    default=Path(".pixelmeter"),
    envvar="PIXELMETER_HOME",
    help="Where pulled and added weights are (PIXELMETER_HOME).",
)
@click.option(
    "--mirror",
    envvar="PIXELMETER_MODEL_MIRROR",
    help="A folder with weights (PIXELMETER_MODEL_MIRROR).",
)
@click.option(
    "--engines",
    "outside",
    envvar="PIXELMETER_ENGINES",
    default="",
    help="Folders with engines of your own, separated like PATH (PIXELMETER_ENGINES).",
)
@click.pass_context
def main(context: click.Context, *, home: Path, mirror: str | None, outside: str) -> None:
    """Run engines on your files and see what they give. Nothing is billed or sent anywhere."""
    places = tuple(Path(part) for part in outside.split(os.pathsep) if part)
    with _told():
        context.obj = open_registry(store=home / "models", mirror=mirror, outside=places)


@main.command(name="list", short_help="Engines, models and whether they can run here.")
@click.pass_obj
def list_command(registry: Registry) -> None:
    """List every engine and model, and whether its weights are on this machine."""
    table = Table("engine", "model", "runs on", "here", box=None)
    for manifest in registry.manifests().values():
        for model in manifest.models:
            here = "yes" if registry.available(model) else "no"
            table.add_row(manifest.name, model.id, model.runner, here)
    Console().print(table)


@main.command(
    short_help="Run an engine on pictures, videos or folders of them.",
    epilog="Examples: run detect photo.jpg -o out    run detect 'photos/*.jpg' --param conf=0.4    "
    "run face-swap group.jpg --source me.jpg",
)
@click.argument("engine")
@click.argument("targets", nargs=-1, required=True)
@click.option("-o", "--out", type=_FOLDER, default=Path("out"), help="For results; made if needed.")
@click.option("-m", "--model", help="Name or name@version; else the first that can run here.")
@click.option("-s", "--source", "sources", multiple=True, help="Source picture, e.g. of a face.")
@click.option("-p", "--param", "params", multiple=True, help="name=value; a JSON value is JSON.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON per target, no bar.")
@click.pass_obj
def run(
    registry: Registry,
    *,
    engine: str,
    targets: tuple[str, ...],
    out: Path,
    model: str | None,
    sources: tuple[str, ...],
    params: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run ENGINE on each of TARGETS: files, folders (their pictures and videos) or patterns.

    Every target gets NAME.json and its files in --out. One that fails does not stop the others;
    the exit code is 1 then.
    """
    with _told():
        runs = LocalRuns(
            registry,
            engine,
            model=model,
            params=_params(params),
            sources=[path for source in sources for path in expand(source)],
            out=out,
        )
        paths = [path for target in targets for path in expand(target)]
        ran = _as_lines(runs, paths) if as_json else _with_bar(runs, paths)
    sys.exit(1 if any(each.error for each in ran) else 0)


@main.command(short_help="What pictures and videos say of their origin.")
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def origin(*, paths: tuple[Path, ...]) -> None:
    """Read from each of PATHS who made it and as what, one line of JSON per file.

    Nobody has signed what is read: it is what the file claims.
    """
    for path in paths:
        with _told():
            said = read_origin(path)
        aigc = None if said.aigc is None else dict(said.aigc)
        click.echo(
            json.dumps(
                {
                    "path": str(path),
                    "media_type": said.media_type,
                    "digital_source_type": said.digital_source_type,
                    "aigc": aigc,
                }
            )
        )


@main.command(short_help="The face of a picture as the embedders here see it.")
@click.argument("picture", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def identify(registry: Registry, *, picture: Path) -> None:
    """Print the vector of the face of PICTURE by embedder, as one line of JSON."""
    # The other commands start without an engine's networks.
    from engines.face_swap import identity  # noqa: PLC0415

    services = Services(registry=registry, sessions=registry.sessions, limits=registry.limits)
    try:
        found = identity.identify(services, picture)
    except EngineError as error:
        click.echo(json.dumps({"error": {"code": error.code, "detail": error.detail}}))
        sys.exit(1)
    click.echo(json.dumps({"vectors": {name: each.tolist() for name, each in found.items()}}))


def _with_bar(runs: LocalRuns, paths: list[Path]) -> list[Ran]:
    console = Console(stderr=True)
    ran = []
    with RunBar(console, total=len(paths)) as bar:
        for each in runs.run(paths, watch=bar.within):
            ran.append(each)
            bar.finished()
            if each.error is not None:
                said = escape(f"{each.target}: {each.error.code}: {each.error.detail}")
                console.print(f"[red]{said}[/]")
    console.print(escape(runs.summary(ran)))
    return ran


def _as_lines(runs: LocalRuns, paths: list[Path]) -> list[Ran]:
    ran = []
    for each in runs.run(paths):
        ran.append(each)
        click.echo(json.dumps(each.as_json()))
    return ran


def _params(given: tuple[str, ...]) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} should be name=value", param_hint="--param")
        try:
            params[name] = json.loads(value)
        except json.JSONDecodeError:
            params[name] = value
    return params


class _told:  # noqa: N801 - reads as a word where it is used
    """Turn what an engine says into a message and exit code 2."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate."""
        if isinstance(error, EngineError):
            raise click.UsageError(f"{error.code}: {error.detail}") from error
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "params"
            raise click.UsageError(f"--param {where}: {first['msg']}") from error
