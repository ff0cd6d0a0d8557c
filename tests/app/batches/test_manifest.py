"""The manifest of a batch: JSON and CSV of every item, written row by row."""

import csv
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.batches.manifest import DATA_BYTES_MAX, write_csv_manifest, write_json_manifest

FILE = {"id": "file_1", "name": "a.png", "media_type": "image/png", "bytes": 3, "sha256": "ab"}


def row(position: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "position": position,
        "state": "job",
        "status": "succeeded",
        "engine": "detect",
        "model": "builtin@1",
        "job_id": f"job_{position}",
        "quoted": 500_000,
        "usage": {"tokens": 0.5, "gpu_ms": 3.25},
        "output": {"files": [FILE], "data": {"predictions": []}},
        "error": None,
        "error_code": None,
        "error_detail": None,
        "metadata": {"name": "clip"},
        **changes,
    }


INVALID = row(
    1, state="invalid", status=None, job_id=None, engine=None, model=None, quoted=None, usage=None,
    output=None, error_code="unknown_engine", error_detail="=cmd()", metadata=None,
)  # fmt: skip


def test_both_forms_tell_results_and_reasons_by_index(tmp_path: Path) -> None:
    rows = [row(), INVALID]
    as_json, as_csv = tmp_path / "a.json", tmp_path / "a.csv"
    write_json_manifest(as_json, head={"id": "batch_1"}, items=rows, base_url="https://api.example")
    write_csv_manifest(as_csv, items=rows)
    manifest = json.loads(as_json.read_text())
    assert manifest["id"] == "batch_1"
    first, second = manifest["items"]
    assert first["files"] == [{**FILE, "url": "https://api.example/v1/files/file_1/content"}]
    assert (first["tokens"], first["metadata"]) == (0.5, {"name": "clip"})
    assert (second["status"], second["error"]["code"], second["files"]) == (
        "invalid",
        "unknown_engine",
        [],
    )
    lines = list(csv.DictReader(as_csv.read_text().splitlines()))
    assert (lines[0]["files"], lines[0]["sha256"], lines[0]["gpu_ms"]) == ("file_1", "ab", "3.25")
    # no cell is a formula
    assert (lines[1]["error_code"], lines[1]["error_detail"][:2]) == ("unknown_engine", "'=")


def test_a_batch_without_items_is_json_too(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json_manifest(path, head={"id": "batch_1"}, items=[], base_url="")
    assert json.loads(path.read_text()) == {"id": "batch_1", "items": []}


def test_data_that_is_large_is_left_to_the_job(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    crowd = row(output={"files": [], "data": {"predictions": ["x" * DATA_BYTES_MAX]}})
    write_json_manifest(path, head={"id": "batch_1"}, items=[crowd], base_url="")
    (entry,) = json.loads(path.read_text())["items"]
    assert "omitted" in entry["data"]


def test_memory_does_not_grow_with_the_items(tmp_path: Path) -> None:
    def rows(items: int) -> Iterator[dict[str, Any]]:
        return (row(position) for position in range(items))

    def peak(items: int) -> int:
        tracemalloc.start()
        path = tmp_path / "a.json"
        write_json_manifest(path, head={"id": "batch_1"}, items=rows(items), base_url="")
        write_csv_manifest(tmp_path / "a.csv", items=rows(items))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(2000) < peak(100) + 64 * 1024
