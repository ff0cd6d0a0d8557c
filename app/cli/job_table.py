"""Jobs as rich tables and progress, shared by `submit`, `jobs`, `job` and `demo`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from app.client.events import ServerEvent

Job = Mapping[str, Any]

WIDTH_MAX = 400
STATUS_STYLES = {"succeeded": "green", "failed": "bold red", "canceled": "yellow", "expired": "red"}


class JobProgress:
    """One bar per job, moved by looks at the job."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "JobProgress":
        """Start drawing."""
        self._bars.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        """Stop drawing; the last state stays on the terminal."""
        self._bars.stop()

    def add(self, job: Job, name: str) -> None:
        """Draw a bar for a job."""
        self._tasks[job["id"]] = self._bars.add_task(name, total=1, status=job["status"])

    def show(self, job: Job) -> None:
        """Move the bar of a job to where the job stands."""
        done, total = job["progress"]["done"], job["progress"]["total"]
        if job["status"] == "succeeded":
            done = total = total or 1
        self._bars.update(
            self._tasks[job["id"]],
            completed=done,
            total=total or 1,
            status=_styled(job["status"]),
        )


def print_jobs(
    console: Console, jobs: Iterable[Job], *, outputs: Mapping[str, Sequence[str]]
) -> None:
    """Print one line per job; ``outputs`` says by job id what its results were saved as.

    Never narrower than its content: an id that is cut off is of no use to anybody.
    """
    table = Table("job", "engine", "model", "status", box=None, pad_edge=False)
    for name in ("seconds", "gpu_ms", "quoted", "charged"):
        table.add_column(name, justify="right")
    table.add_column("output")
    for job in jobs:
        table.add_row(
            job["id"],
            job["engine"],
            job["model"],
            _styled(job["status"]),
            seconds_of(job),
            gpu_ms_of(job),
            tokens_text(job["quote"]["max_tokens"]),
            charged_of(job),
            escape(", ".join(outputs.get(job["id"], ())) or error_of(job)),
        )
    # A console of its own: rich never draws wider than the console it draws on.
    wide = Console(file=console.file, width=WIDTH_MAX, highlight=False)
    wide.print(table)


def event_line(event: ServerEvent) -> str:
    """An event of a job in words."""
    data = event.data
    if event.kind == "log":
        return str(data["message"])
    if event.kind == "status":
        return f"{data['status']}, attempt {data['attempt']}" if data["attempt"] else data["status"]
    if "queue_position" in data:
        return f"number {data['queue_position']} in the queue"
    speed = "" if data["fps"] is None else f", {data['fps']:.1f} per second"
    left = "" if data["remaining_s"] is None else f", about {data['remaining_s']:.0f} s to go"
    return f"{data['done']} of {data['total']} {data['unit']} ({data['percent']} %){speed}{left}"


def seconds_of(job: Job) -> str:
    """How long a job ran, from claim to end."""
    if job["started_at"] is None or job["finished_at"] is None:
        return ""
    started, finished = (
        datetime.fromisoformat(job[name]) for name in ("started_at", "finished_at")
    )
    return f"{(finished - started).total_seconds():.2f}"


def gpu_ms_of(job: Job) -> str:
    """Measured compute time."""
    usage = job["usage"]
    return "" if usage is None or usage.get("gpu_ms") is None else f"{usage['gpu_ms']:.0f}"


def charged_of(job: Job) -> str:
    """Tokens charged; empty while it is not settled."""
    return "" if job["usage"] is None else tokens_text(job["usage"]["tokens"])


def error_of(job: Job) -> str:
    """Why a job did not succeed."""
    return "" if job["error"] is None else f"{job['error']['detail']} [{job['error']['code']}]"


def tokens_text(tokens: float | Decimal) -> str:
    """An amount of tokens with as many places as it needs."""
    return f"{tokens:,.6f}".rstrip("0").rstrip(".")


def _styled(status: str) -> str:
    style = STATUS_STYLES.get(status)
    return status if style is None else f"[{style}]{status}[/]"
