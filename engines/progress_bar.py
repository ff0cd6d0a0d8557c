"""A progress bar for runs in a terminal: targets, and the frames of a long one."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class RunBar:
    """A context manager; ``within`` may be called from any thread."""

    def __init__(self, console: Console, *, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._targets = self._progress.add_task("targets", total=total)
        self._inside = self._progress.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        """Show it."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take it away."""
        self._progress.stop()

    def within(self, done: int, total: int, unit: str) -> None:
        """How far one target is; shown where it has many parts."""
        self._progress.update(
            self._inside, description=unit, completed=done, total=total, visible=total > 1
        )

    def finished(self) -> None:
        """One target more."""
        self._progress.advance(self._targets)
