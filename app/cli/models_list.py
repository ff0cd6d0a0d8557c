"""`pixelmeter models list`: what there is, whether it can run here, and on which runner."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.markup import escape
from rich.table import Column, Table

from app.cli.context import Context, pass_context
from app.engine_room import open_engines, runner_opener
from engines.choice import Candidate, RunnerUnavailableError, choose
from engines.errors import EngineError
from engines.loading import weights_source
from engines.manifest import ModelVersion
from engines.opening import NetworkSource, RunnerOpener
from engines.registry import Registry


@dataclass(frozen=True, slots=True)
class Executed:
    """What would execute one network of a model on this host."""

    runner: str | None  # None: nothing can
    passed_over: tuple[Candidate, ...]  # those before it, each with its reason
    note: str = ""  # why nothing can, or what the first use costs


@click.command(name="list", short_help="What there is, whether it can run here and on what.")
@click.option("--runners", is_flag=True, help="Why each model has its runner, in full.")
@pass_context
def list_models(context: Context, *, runners: bool) -> None:
    """List every model: whether it can run here, its runner, the licence and size of its weights.

    A star marks the version that the plain name of a model means. An fp16 variant names the first
    digits of the sha256 it was made of. The runner is the one that this
    host would use now; the last lines say why others were passed over, and --runners says it
    network by network.
    """
    registry, opener = open_engines(context.settings), runner_opener(context.settings)
    if runners:
        context.console.print(_reasons_table(registry, opener))
        return
    table = Table(
        "engine",
        Column("model", no_wrap=True),
        *("here", "runner", "licence", "MB"),
        box=None,
        pad_edge=False,
        collapse_padding=True,
    )
    passed_over: dict[Candidate, None] = {}
    for name, model in _models(registry):
        executed = [each for _, each in executions(registry, opener, model)]
        passed_over |= dict.fromkeys(each for one in executed for each in one.passed_over)
        table.add_row(
            name,
            _model_cell(model, is_active=registry.is_active(name, model)),
            "[green]yes[/]" if registry.available(model) else f"[yellow]{_way(model)}[/]",
            _runner_cell(model, executed),
            ", ".join(dict.fromkeys(file.licence for file in model.weights)),
            f"{sum(file.bytes for file in model.weights) / 1e6:.1f}" if model.weights else "",
        )
    context.console.print(table)
    for reason, names in _by_reason(passed_over).items():
        context.console.print(f"passed over: {', '.join(names)}: {reason}", markup=False)


def executions(
    registry: Registry, opener: RunnerOpener, model: ModelVersion
) -> Iterator[tuple[str, Executed]]:
    """Every network of a model that is here, by file, with what would execute it."""
    if not registry.available(model):
        return
    for file in model.weights:
        try:
            # Only a plan depends on the file; without plans none is hashed or read.
            source = NetworkSource(Path(file.file))
            if opener.may_use_plans:
                source = weights_source(registry, model, file.file)
            yield file.file, _executed(opener, source)
        except EngineError as error:
            yield file.file, Executed(None, (), error.detail)


def _executed(opener: RunnerOpener, source: NetworkSource) -> Executed:
    found = opener.consider(source)
    try:
        runner = choose(found, opener.policy)[0]
    except RunnerUnavailableError as error:
        return Executed(None, tuple(each for each in found if each.obstacle), error.detail)
    before = found[: [each.name for each in found].index(runner)]
    note = "its plan is built at the first use" if opener.must_build(source) else ""
    return Executed(runner, before, note)


def _reasons_table(registry: Registry, opener: RunnerOpener) -> Table:
    table = Table("model", "runner", "passed over", box=None)
    for _, model in _models(registry):
        networks = list(executions(registry, opener, model))
        for file, executed in networks:
            name = model.id if len(networks) == 1 else f"{model.id} {file}"
            reasons = [f"{each.name}: {each.obstacle}" for each in executed.passed_over]
            if executed.note:
                reasons.append(executed.note)
            table.add_row(name, executed.runner or "[red]none[/]", escape("\n".join(reasons)))
    return table


def _models(registry: Registry) -> Iterator[tuple[str, ModelVersion]]:
    for name, manifest in registry.manifests().items():
        for model in manifest.models:
            yield name, model


def _model_cell(model: ModelVersion, *, is_active: bool) -> str:
    star = " *" if is_active else ""
    return f"{model.id}{star}" + (
        f"\n  fp16 of {model.halved_from[:12]}" if model.halved_from else ""
    )


def _runner_cell(model: ModelVersion, executed: list[Executed]) -> str:
    """Empty where the weights are not here: which runner it would be may depend on them."""
    if model.runner != "onnxruntime":
        return model.runner
    return ", ".join(dict.fromkeys(each.runner or "[red]none[/]" for each in executed))


def _by_reason(passed_over: dict[Candidate, None]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for each in passed_over:
        grouped.setdefault(str(each.obstacle), []).append(each.name)
    return grouped


def _way(model: ModelVersion) -> str:
    if model.needs_weights and not model.weights:
        return "models add"
    return "models pull"
