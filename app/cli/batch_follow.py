"""Following a batch to its end, as `submit` with several files and `batch --wait` do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from app.cli.batch_table import SHOWN_MAX, BatchScreen, counts_text, print_items
from app.cli.job_table import tokens_text
from app.cli.results import save_outputs
from app.client.client import Client

TIMEOUT_S = 24 * 3600.0


def follow(
    console: Console, client: Client, batch_id: str, *, names: Mapping[int, str]
) -> dict[str, Any]:
    """Draw a batch until it has ended; returns it as it ended."""
    with BatchScreen(console, names) as screen:

        def show(batch: dict[str, Any]) -> None:
            running = list(client.batch_items(batch_id, status="running", limit=SHOWN_MAX))
            failed = list(client.batch_items(batch_id, status="failed", limit=SHOWN_MAX))
            screen.show(batch, running + failed)

        return client.wait_batch(batch_id, timeout_s=TIMEOUT_S, progress=show)


def report(
    console: Console,
    client: Client,
    batch: Mapping[str, Any],
    *,
    names: Mapping[int, str],
    out: Path | None,
) -> None:
    """Print every item and the totals; save the results in ``out`` when it is given."""
    items = list(client.batch_items(batch["id"]))
    outputs: dict[int, list[str]] = {}
    if out is not None:
        for item in items:
            stem = Path(names.get(item["index"], f"{item['index']:05d}")).stem
            outputs[item["index"]] = [str(p) for p in save_outputs(client, item, out, stem=stem)]
    print_items(console, items, names=names, outputs=outputs)
    balance = client.balance()["available"]
    console.print(f"{batch['id']} is {batch['status']}: {counts_text(batch)}.")
    console.print(f"{tokens_text(balance)} tokens are left.")


def went_well(batch: Mapping[str, Any]) -> bool:
    """Whether every item of an ended batch succeeded."""
    return bool(batch["counts"]["succeeded"] == batch["total"])
