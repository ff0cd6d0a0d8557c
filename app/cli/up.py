"""`pixelmeter up`: in the foreground, or detached."""

import json
import logging
import os
from collections.abc import Callable
from dataclasses import asdict

import click

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.local.errors import LocalError
from app.local.launch import forget_stale, start_detached
from app.local.options import UpOptions
from app.local.ports import free_port, is_free
from app.local.processes import own_environment
from app.local.state import PlatformState
from app.settings import Settings, environment, load_settings

PORT_MAX = 65535
COMFYUI_PORT = 8188  # ComfyUI's own


@click.command(
    short_help="Start everything on this machine.",
    epilog=examples(
        "pixelmeter up                              in this terminal; Ctrl-C stops it",
        "pixelmeter up --detach                     in the background",
        "PIXELMETER_HOME=/tmp/second pixelmeter up --detach --port 8010",
    ),
)
@click.option("--detach", is_flag=True, help="Return once everything is ready; stop with `down`.")
@click.option(
    "--port",
    type=click.IntRange(0, PORT_MAX),
    default=8000,
    show_default=True,
    help="Port of the API on 127.0.0.1; 0 takes a free one.",
)
@click.option(
    "--comfyui-port",
    type=click.IntRange(0, PORT_MAX),
    default=None,
    help="Port for clients of ComfyUI on 127.0.0.1; 0 takes a free one."
    f"  [default: {COMFYUI_PORT}, or a free one where that is taken]",
)
@click.option(
    "--gpu-workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many jobs run at once.",
)
@click.option(
    "--allow-anonymous",
    is_flag=True,
    help="For development: POST /v1/face-swap without a key is the demo tenant's.",
)
@click.option("--report-to", type=int, hidden=True, help="File descriptor for the first report.")
@pass_context
def up(
    context: Context,
    *,
    detach: bool,
    port: int,
    comfyui_port: int | None,
    gpu_workers: int,
    allow_anonymous: bool,
    report_to: int | None,
) -> None:
    """Start everything on this machine and keep it running.

    Starts PostgreSQL and Redis from this installation (unless DATABASE_URL or REDIS_URL name
    servers of yours), brings the tables up to date, and supervises the API, the dispatcher and
    the workers. The first start creates a demo tenant with 10 000 tokens; addresses and keys are
    in PIXELMETER_HOME/dev.json. Clients of ComfyUI run against a port of their own: their prompts
    become jobs of the demo tenant, or of the key in PIXELMETER_COMFYUI_KEY.
    """
    if allow_anonymous:  # says early what the API would refuse to start with
        load_settings({**environment(), "PIXELMETER_ALLOW_ANONYMOUS": "true"})
    options = UpOptions(
        port=port or free_port(),
        comfyui_port=_comfyui_port(comfyui_port),
        gpu_workers=gpu_workers,
        allow_anonymous=allow_anonymous,
    )
    if detach:
        _detach(context, options)
    elif report_to is not None:
        _run_for_parent(context, options, report_to)
    else:
        _run_here(context, options)


def _comfyui_port(asked: int | None) -> int:
    """The port asked for; else ComfyUI's own, unless ComfyUI itself or another of us has it."""
    if asked is None and is_free(COMFYUI_PORT):
        return COMFYUI_PORT
    return asked or free_port()


def _detach(context: Context, options: UpOptions) -> None:
    stale_pid = forget_stale(context.layout)
    if stale_pid is not None:
        context.console.print(f"Cleaned up after a supervisor that was killed (pid {stale_pid}).")
    arguments = [
        *("--port", str(options.port), "--comfyui-port", str(options.comfyui_port)),
        *("--gpu-workers", str(options.gpu_workers)),
    ]
    arguments += ["--allow-anonymous"] if options.allow_anonymous else []
    inherited = own_environment(context.settings, inherited=environment())
    _announce(context, start_detached(context.layout, arguments, environment=inherited))
    context.console.print("Stop it with [bold]pixelmeter down[/].")


def _run_here(context: Context, options: UpOptions) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    context.console.print(f"Starting in {context.settings.home} ...")
    _run_machine(
        context.settings,
        options,
        inherited=environment(),
        ready=lambda state: _announce(context, state),
    )
    context.console.print("Stopped.")


def _run_for_parent(context: Context, options: UpOptions, report_to: int) -> None:
    """Run detached: the parent waits for one line of JSON, then is gone."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    os.set_inheritable(report_to, False)  # noqa: FBT003 - positional only

    def report(document: dict[str, object]) -> None:
        with os.fdopen(report_to, "w") as pipe:
            pipe.write(json.dumps(document) + "\n")

    told = False

    def ready(state: PlatformState) -> None:
        nonlocal told
        told = True
        report({"state": asdict(state)})

    try:
        _run_machine(context.settings, options, inherited=environment(), ready=ready)
    except LocalError as error:
        if told:
            raise
        report({"error": str(error)})
        raise


def _run_machine(
    settings: Settings,
    options: UpOptions,
    *,
    inherited: dict[str, str],
    ready: Callable[[PlatformState], None],
) -> None:
    # Half a second of imports that the waiting parent of a detached start can do without.
    from app.local.machine import run_machine  # noqa: PLC0415

    run_machine(settings, options, inherited=inherited, ready=ready)


def _announce(context: Context, state: PlatformState) -> None:
    say = context.console.print
    say("[bold green]Pixelmeter is ready.[/]")
    say(f"  API       {state.base_url}   documentation {state.base_url}/docs")
    say(f"  ComfyUI   {state.comfyui_url}   its clients run with this address")
    say(f"  keys      {context.layout.dev_file}", soft_wrap=True)
    say(f"  logs      {context.layout.logs}", soft_wrap=True)
