"""Saving what a job made."""

import json
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.client.client import Client


def save_outputs(client: Client, job: Mapping[str, Any], folder: Path, *, stem: str) -> list[Path]:
    """Save the files of a job, and its data as JSON when it has any; returns their paths.

    ``stem`` names them, usually after the input. Nothing that exists is overwritten.
    """
    output = job["output"]
    if output is None:
        return []
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{stem}-{job['engine']}"
    saved = []
    if output["data"]:
        path = _free_path(folder, f"{name}.json")
        path.write_text(json.dumps(output["data"], indent=2, ensure_ascii=False) + "\n")
        saved.append(path)
    for file in output["files"]:
        if file["url"] is not None:
            path = _free_path(folder, f"{name}{_suffix(file)}")
            saved.append(client.download(file["url"], path))
    return saved


def _suffix(file: Mapping[str, Any]) -> str:
    # From a table of ours, not from the server's name for it: a name could lead elsewhere.
    return mimetypes.guess_extension(file["media_type"]) or ""


def _free_path(folder: Path, name: str) -> Path:
    path = folder / name
    number = 2
    while path.exists():
        path = folder / f"{Path(name).stem}-{number}{Path(name).suffix}"
        number += 1
    return path
