"""`pixelmeter models build`: TensorRT plans, ahead of time and without a GPU."""

import click
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.engine_room import open_engines, plan_cache, runner_policy
from engines.errors import EngineError, InvalidInputError
from engines.loading import weights_source
from engines.plans.build import check_target
from engines.plans.builders import FlavourName, load_flavour, nvidia_gpus
from engines.plans.making import make_plan, read_wanted
from engines.registry import Registry


@click.command(
    short_help="Build TensorRT plans ahead of time.",
    epilog=examples("pixelmeter models build --model yolov8n --target sm80 --target sm89"),
)
@click.option("--model", "names", multiple=True, help="Only these; all that are here without it.")
@click.option(
    "--target", "targets", multiple=True, help="sm89 and the like; else this host's GPUs."
)
@click.option(
    "--flavour",
    type=click.Choice([name.value for name in FlavourName]),
    default=FlavourName.TENSORRT_RTX.value,
    show_default=True,
    help="Which TensorRT; the RTX one builds for any of its targets without a GPU.",
)
@pass_context
def build(
    context: Context, *, names: tuple[str, ...], targets: tuple[str, ...], flavour: str
) -> None:
    """Build the plans of models for GPUs, with the shapes their manifests name.

    A plan that is there already is found, not built; exit code 1 when one could not be built.
    """
    gpus = nvidia_gpus()
    wanted_targets = targets or tuple(dict.fromkeys(gpu.target for gpu in gpus))
    if not wanted_targets:
        message = "this host has no NVIDIA GPU: say which plans are for, as in --target sm89"
        raise InvalidInputError(message, code="target_unsupported")
    trt = load_flavour(FlavourName(flavour))
    for target in wanted_targets:
        check_target(trt, target, gpus)
    policy = runner_policy(context.settings)
    registry, cache = open_engines(context.settings), plan_cache(context.settings)
    table = Table("model", "target", "plan", "MB", "seconds", box=None)
    failed = False
    with Progress(TextColumn("{task.description}"), BarColumn(), console=context.console) as bars:
        work = [(name, target) for name in _models(registry, names) for target in wanted_targets]
        task = bars.add_task("plans", total=len(work))
        for (engine, name), target in work:
            bars.update(task, description=f"{name} for {target}")
            try:
                source = weights_source(registry, registry.resolve(engine, name))
                network = read_wanted(
                    source.path,
                    sha256=source.sha256,
                    profiles=source.profiles,
                    tf32=policy.tf32,  # else workers would not find what is built here
                )
                made = make_plan(
                    network,
                    flavour=trt,
                    target=target,
                    cache=cache,
                    limit_s=policy.plan_build_s,
                )
            except EngineError as error:
                failed = True
                table.add_row(name, target, f"[red]{error.detail}[/]", "", "")
            else:
                spent = "found" if made.was_there else f"{made.seconds:.1f}"
                table.add_row(name, target, made.plan.key, f"{made.plan.size / 1e6:.1f}", spent)
            bars.advance(task)
    context.console.print(table)
    if failed:
        raise SystemExit(1)


def _models(registry: Registry, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """Engine and ``name@version`` of every network that is here, or of those asked for."""
    found = [
        (engine, model.id)
        for engine, manifest in registry.manifests().items()
        for model in manifest.models
        if model.weights and registry.available(model)
    ]
    if not names:
        return found
    asked = [pair for pair in found if pair[1] in names or pair[1].split("@")[0] in names]
    missing = [
        name for name in names if not any(name in (id_, id_.split("@")[0]) for _, id_ in asked)
    ]
    if missing:
        message = f"no weights of {', '.join(missing)} are here; see `pixelmeter models list`"
        raise InvalidInputError(message, code="unknown_model")
    return asked
