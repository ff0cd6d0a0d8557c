"""`pixelmeter down` and `pixelmeter status`."""

from datetime import UTC, datetime

import click
from rich.table import Table

from app.cli.context import Context, pass_context
from app.local.depths import Depths, read_depths
from app.local.launch import forget_stale, stop_running
from app.local.state import ProcessState, read_state

STYLES = {"running": "green", "waiting": "yellow", "failing": "bold red", "stopped": "dim"}


@click.command(short_help="Stop what `up` started.")
@pass_context
def down(context: Context) -> None:
    """Stop everything that `pixelmeter up` started in this PIXELMETER_HOME, and wait for it.

    A job that runs is given up to 25 seconds to finish; one that does not is taken up again after
    the next start. Data stays. Nothing to stop is not a failure.
    """
    pid = stop_running(context.layout)
    if pid is not None:
        context.console.print(f"Stopped (it was pid {pid}). Data stays in {context.layout.home}")
        return
    stale_pid = forget_stale(context.layout)
    if stale_pid is not None:
        context.console.print(f"Removed the pid file of a killed supervisor ({stale_pid}).")
    context.console.print(f"Nothing runs in {context.layout.home}.")


@click.command(short_help="Show processes, queue depths, oldest job.")
@pass_context
def status(context: Context) -> None:
    """Show each process, what waits in the queues and how old the oldest waiting job is.

    Exit code 1 when nothing runs in this PIXELMETER_HOME.
    """
    state = read_state(context.layout)
    say = context.console.print
    say(f"{state.base_url}  {state.phase}  (supervisor pid {state.pid}, {context.layout.home})")
    say(f"{state.comfyui_url}  for clients of ComfyUI")
    say(_process_table(state.processes, now=datetime.now(UTC)))
    depths = read_depths(
        state.database_url, state.redis_url, outside=context.settings.engine_folders
    )
    say(_depth_table(depths))
    if depths.oldest_queued_s is None:
        say("No job waits.")
    else:
        say(f"The oldest waiting job is {_span(depths.oldest_queued_s)} old.")


def _process_table(processes: list[ProcessState], *, now: datetime) -> Table:
    table = Table("process", "state", "pid", "uptime", "restarts", "last end", box=None)
    for process in processes:
        uptime = ""
        if process.started_at is not None and process.pid is not None:
            uptime = _span((now - datetime.fromisoformat(process.started_at)).total_seconds())
        style = STYLES.get(process.state, "")
        table.add_row(
            process.name,
            f"[{style}]{process.state}[/]",
            str(process.pid or ""),
            uptime,
            str(process.restarts),
            process.last_exit or "",
        )
    return table


def _depth_table(depths: Depths) -> Table:
    table = Table("jobs", "number", box=None)
    for name, number in depths.jobs.items():
        table.add_row(name, str(number))
    table.add_row("not settled", str(depths.unsettled))
    table.add_row("webhooks due", str(depths.deliveries_due))
    for name, length in depths.queues.items():
        table.add_row(f"queue {name}", "unreachable" if length is None else str(length))
    return table


def _span(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = divmod(whole // 60, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {whole % 60} s" if minutes else f"{whole} s"
