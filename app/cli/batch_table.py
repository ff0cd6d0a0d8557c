"""Batches on a terminal: a live screen while they run, a table of results, a line of totals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from app.cli.job_table import STATUS_STYLES, WIDTH_MAX, error_of, tokens_text

Batch = Mapping[str, Any]
Item = Mapping[str, Any]

ENDED = ("succeeded", "failed", "canceled", "expired", "refused", "invalid")
SHOWN_MAX = 12  # items on the live screen
PROBLEMS = ("failed", "expired", "refused", "invalid")


class BatchScreen:
    """A bar over all items, the counts, and the items that run or went wrong last."""

    def __init__(self, console: Console, names: Mapping[int, str]) -> None:
        """``names`` are what to call the items, by index."""
        self._names = names
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._bar.add_task("", total=None)
        self._live = Live(console=console, refresh_per_second=4)

    def __enter__(self) -> "BatchScreen":
        """Start drawing."""
        self._live.start()
        return self

    def __exit__(self, *_failure: object) -> None:
        """Stop drawing; the last state stays on the terminal."""
        self._live.stop()

    def show(self, batch: Batch, items: Sequence[Item]) -> None:
        """Draw a batch and the given items of it."""
        self._bar.update(
            self._task,
            description=f"{batch['id']} {_styled(batch['status'])}",
            completed=sum(batch["counts"][kind] for kind in ENDED),
            total=batch["total"],
        )
        self._live.update(Group(self._bar, counts_text(batch), self._rows(items)), refresh=True)

    def _rows(self, items: Sequence[Item]) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for item in items[:SHOWN_MAX]:
            name = self._names.get(item["index"], str(item["index"]))
            table.add_row(escape(name), _styled(item["status"]), escape(error_of(item)))
        return table


def counts_text(batch: Batch) -> str:
    """How many items stand where, without the zeros, and the tokens."""
    counts = ", ".join(f"{number} {kind}" for kind, number in batch["counts"].items() if number)
    return (
        f"{counts}; {tokens_text(batch['tokens'])} of at most "
        f"{tokens_text(batch['tokens_quoted'])} tokens charged"
    )


def print_items(
    console: Console,
    items: Iterable[Item],
    *,
    names: Mapping[int, str],
    outputs: Mapping[int, Sequence[str]],
) -> None:
    """Print one line per item, never narrower than its content."""
    table = Table("#", "file", "job", "engine", "status", box=None, pad_edge=False)
    for name in ("gpu_ms", "quoted", "charged"):
        table.add_column(name, justify="right")
    table.add_column("output")
    for item in items:
        index = item["index"]
        table.add_row(
            str(index),
            escape(names.get(index, "")),
            item["job"] or "",
            item["engine"] or "",
            _styled(item["status"]),
            "" if item["gpu_ms"] is None else f"{item['gpu_ms']:.0f}",
            _tokens(item["tokens_quoted"]),
            _tokens(item["tokens"]),
            escape(", ".join(outputs.get(index, ())) or error_of(item)),
        )
    Console(file=console.file, width=WIDTH_MAX, highlight=False).print(table)


def print_batches(console: Console, batches: Iterable[Batch]) -> None:
    """Print one line per batch."""
    table = Table("batch", "status", "items", "succeeded", "failed", box=None, pad_edge=False)
    for name in ("quoted", "charged"):
        table.add_column(name, justify="right")
    table.add_column("created")
    for batch in batches:
        counts = batch["counts"]
        table.add_row(
            batch["id"],
            _styled(batch["status"]),
            str(batch["total"]),
            str(counts["succeeded"]),
            str(sum(counts[kind] for kind in PROBLEMS)),
            tokens_text(batch["tokens_quoted"]),
            tokens_text(batch["tokens"]),
            batch["created_at"],
        )
    Console(file=console.file, width=WIDTH_MAX, highlight=False).print(table)


def _tokens(tokens: float | None) -> str:
    return "" if tokens is None else tokens_text(tokens)


def _styled(status: str) -> str:
    style = {**STATUS_STYLES, "completed": "green", "refused": "red", "invalid": "red"}.get(status)
    return status if style is None else f"[{style}]{status}[/]"
