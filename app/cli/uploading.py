"""A bar for a file that takes a while to send."""

from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from app.client.client import Client


def upload_shown(console: Console, client: Client, path: Path) -> str:
    """Upload a file and return its id; a bar comes with the first byte of a large one."""
    bars = Progress(
        TextColumn("Uploading {task.description}"),
        BarColumn(bar_width=24),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    task = bars.add_task(path.name, total=None)

    def progress(done: int, total: int) -> None:
        bars.start()
        bars.update(task, completed=done, total=total)

    try:
        file_id: str = client.upload(path, progress=progress)["id"]
    finally:
        bars.stop()
    return file_id
