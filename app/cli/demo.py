"""`pixelmeter demo`."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.markup import escape
from sqlalchemy.orm import Session

from app.cli.context import Context, pass_context
from app.cli.examples import examples
from app.cli.job_table import JobProgress, print_jobs, tokens_text
from app.cli.results import save_outputs
from app.client.client import Client
from app.db import open_engine
from app.demo.errors import DemoError
from app.demo.media import find_photos
from app.demo.plan import DemoJob, own_jobs, shipped_jobs
from app.demo.run import DemoReport, run_demo
from app.local.launch import start_detached, stop_running
from app.local.ports import LOOPBACK, free_port
from app.local.processes import own_environment
from app.local.state import PlatformState, read_json, read_state, running_pid
from app.settings import environment
from billing.reconcile import check


@click.command(
    short_help="Run the main job on real pictures and a video.",
    epilog=examples(
        "pixelmeter demo",
        "pixelmeter demo --media ~/photos --out results",
    ),
)
@click.option(
    "--media",
    type=click.Path(file_okay=False, path_type=Path),
    help="A folder of yours instead of the photographs in the wheels: all of it goes through "
    "detect, pictures in a subfolder bw through colorize, pictures in faces through face-swap.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    help="Where results and the contact sheet are saved.",
)
@pass_context
def demo(context: Context, *, media: Path | None, out: Path) -> None:
    """Send real photographs and a video with sound through all three engines, and check the bill.

    Uses the platform that runs in this PIXELMETER_HOME, else starts one on free ports and stops it
    afterwards. Exit code 0 only if every job succeeded, every webhook's signature was right, and
    the ledger reconciles.
    """
    out = _fresh_folder(out)
    say = context.console.print
    with tempfile.TemporaryDirectory(prefix="pixelmeter-demo-") as work:
        say("Preparing the pictures and the video ...")
        plan = own_jobs(media) if media is not None else shipped_jobs(find_photos(), Path(work))
        with _platform(context) as state:
            report = _run(context, state, plan, out)
    _tell(context, report)
    if report.problems:
        raise SystemExit(1)


@contextmanager
def _platform(context: Context) -> Iterator[PlatformState]:
    """A platform that may send webhooks to this machine."""
    if running_pid(context.layout) is not None:
        state = read_state(context.layout)
        if LOOPBACK not in state.outbound_allow:
            message = (
                f"The platform that runs in {context.layout.home} does not send webhooks to "
                f"{LOOPBACK}, where the demo receives them. Stop it with `pixelmeter down` (the "
                f"demo then starts its own), or start it with PIXELMETER_OUTBOUND_ALLOW={LOOPBACK}"
            )
            raise DemoError(message)
        context.console.print(f"Using the platform at {state.base_url}.")
        yield state
        return
    allowed = ",".join(sorted({*context.settings.outbound_allow, LOOPBACK}))
    inherited = own_environment(context.settings, inherited=environment())
    inherited["PIXELMETER_OUTBOUND_ALLOW"] = allowed
    inherited.pop("PIXELMETER_URL", None)  # of another platform: this one has its own address
    arguments = ["--port", str(free_port()), "--comfyui-port", str(free_port())]
    with context.console.status("Starting a platform of its own ..."):
        state = start_detached(context.layout, arguments, environment=inherited)
    context.console.print(f"Started a platform at {state.base_url}.")
    try:
        yield state
    finally:
        with context.console.status("Stopping it again ..."):
            stop_running(context.layout)


def _run(context: Context, state: PlatformState, plan: list[DemoJob], out: Path) -> DemoReport:
    keys = read_json(context.layout.dev_file) or {}
    with (
        Client.connect(state.base_url, str(keys.get("tenant_key"))) as client,
        JobProgress(context.console) as watcher,
    ):
        return run_demo(
            client,
            plan,
            out=out,
            watcher=watcher,
            save=lambda job, stem: save_outputs(client, job, out, stem=stem),
            reconcile=lambda: _findings(state.database_url),
        )


def _findings(database_url: str) -> list[str]:
    engine = open_engine(database_url, pool_size=1)
    try:
        with Session(engine) as session:
            return [f"the ledger is off: {finding}" for finding in check(session)]
    finally:
        engine.dispose()


def _tell(context: Context, report: DemoReport) -> None:
    say = context.console.print
    shown = {job_id: [path.name for path in paths] for job_id, paths in report.outputs.items()}
    print_jobs(context.console, report.jobs, outputs=shown)
    say(
        f"balance before {tokens_text(report.balance_before)}, after "
        f"{tokens_text(report.balance_after)}: {tokens_text(report.charged)} tokens charged"
    )
    say(f"{report.webhooks} webhooks received, every signature checked by standardwebhooks")
    say(f"contact sheet: {report.sheet.resolve()}", soft_wrap=True)
    for problem in report.problems:
        say(f"[bold red]{escape(problem)}[/]")
    if not report.problems:
        say(
            f"[bold green]Every job succeeded, every webhook verified, the ledger reconciles[/] "
            f"({report.seconds:.1f} s)."
        )


def _fresh_folder(out: Path) -> Path:
    """Make sure that results of this run do not mix with those of an earlier one."""
    folder, number = out, 2
    while folder.exists() and any(folder.iterdir()):
        folder = out.with_name(f"{out.name}-{number}")
        number += 1
    folder.mkdir(parents=True, exist_ok=True)
    return folder
