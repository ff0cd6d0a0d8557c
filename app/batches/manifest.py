"""The results of a batch as two files, JSON and CSV, written row by row.

Links to contents need a key: what is kept for days holds nothing that opens without one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from app.batches.view import item_facts
from app.jobs.record import JobRow
from app.reports.files import write_csv

# Boxes of a crowd may be many kilobytes; the job itself has them.
DATA_BYTES_MAX: Final = 16 * 1024
COLUMNS: Final = (
    "index", "status", "engine", "model", "job", "tokens_quoted", "tokens", "gpu_ms",
    "error_code", "error_detail", "files", "sha256",
)  # fmt: skip


def write_json_manifest(
    path: Path, *, head: Mapping[str, Any], items: Iterable[JobRow], base_url: str
) -> None:
    """Write ``{...head, "items": [...]}`` without ever holding more than one item."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{_dump(head)[:-1]},\n"items":[')
        for number, row in enumerate(items):
            file.write(",\n" if number else "\n")
            file.write(_dump(manifest_entry(row, base_url=base_url)))
        file.write("\n]}\n")


def write_csv_manifest(path: Path, *, items: Iterable[JobRow]) -> None:
    """Write a line per item; several files of one item stand in one cell, apart by a space."""
    with path.open("wb") as file:
        write_csv(file, (_cells(row) for row in items), columns=COLUMNS)


def manifest_entry(row: JobRow, *, base_url: str) -> dict[str, Any]:
    """One item with the files and the data of its result."""
    entry = item_facts(row)
    output = row["output"] or {"files": [], "data": None}
    entry["files"] = [
        {**file, "url": f"{base_url}/v1/files/{file['id']}/content"} for file in output["files"]
    ]
    entry["data"] = output["data"]
    if len(_dump({"data": output["data"]}).encode()) > DATA_BYTES_MAX:
        entry["data"] = {"omitted": "too large for a manifest; read the job"}
    return entry


def _cells(row: JobRow) -> dict[str, Any]:
    facts = item_facts(row)
    error = facts["error"] or {}
    files = (row["output"] or {"files": []})["files"]
    return {
        **{name: "" if facts[name] is None else facts[name] for name in COLUMNS[:8]},
        "error_code": error.get("code", ""),
        "error_detail": error.get("detail", ""),
        "files": " ".join(_each(files, "id")),
        "sha256": " ".join(_each(files, "sha256")),
    }


def _each(files: Iterable[Mapping[str, Any]], name: str) -> Iterator[str]:
    return (str(file[name]) for file in files)


def _dump(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
