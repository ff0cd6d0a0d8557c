"""Weights an operator registered on this machine: ``registry.toml`` in the store folder.

The file adds to the shipped manifests and never changes them. A version's weights are fixed once
registered: new weights of a model become its next version.
"""

import json
import os
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.manifest import ManifestError, ModelVersion, WeightsFile, weights_file

_HEADER = "# Written by `pixelmeter models add`. One entry per registered weights file.\n"


@dataclass(frozen=True, slots=True)
class Registered:
    """One operator's file and the model version it serves."""

    model: str  # yolov8s
    version: str  # 1
    weights: WeightsFile
    inputs: dict[str, list[int]] = field(default_factory=dict)  # by input name; -1: any length


class Overlay:
    """The entries of one file, read again only when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None  # time of change, size
        self._entries: tuple[Registered, ...] = ()

    def entries(self) -> tuple[Registered, ...]:
        """What is registered now, also by another process; raises ``ManifestError``."""
        try:
            stat = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._seen, self._entries = None, ()
            return ()
        seen = (stat.st_mtime_ns, stat.st_size)
        if seen != self._seen:
            self._entries = read_overlay(self._path)
            self._seen = seen
        return self._entries

    def append(self, entry: Registered) -> None:
        """Add one entry; the folder must exist."""
        write_overlay(self._path, [*read_overlay(self._path), entry])


def read_overlay(path: Path) -> tuple[Registered, ...]:
    """The entries of a file, none when it does not exist; raises ``ManifestError``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return tuple(_entry(entry) for entry in table.get("registered", ()))
    except FileNotFoundError:
        return ()
    except (tomllib.TOMLDecodeError, ManifestError, KeyError, TypeError) as error:
        message = f"{path}: {error}; mend the entry or remove it and add the file again"
        raise ManifestError(message) from error


def write_overlay(path: Path, entries: Sequence[Registered]) -> None:
    """Replace the file by these entries, all or nothing."""
    text = _HEADER + "".join(_toml(entry) for entry in entries)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    Path(name).chmod(0o644)
    Path(name).replace(path)


def merge(
    models: tuple[ModelVersion, ...], entries: Sequence[Registered]
) -> tuple[ModelVersion, ...]:
    """The manifest's models with the operator's weights filled in or added as new versions."""
    merged = list(models)
    for entry in entries:
        same_name = [model for model in merged if model.name == entry.model]
        if not same_name:
            continue
        base = same_name[-1]
        registered = replace(
            base,
            version=entry.version,
            weights=(entry.weights,),
            needs_weights=False,
            options={**base.options, "inputs": entry.inputs},
        )
        if entry.version == base.version:
            merged[merged.index(base)] = registered
        else:
            merged.insert(merged.index(base) + 1, registered)
    return tuple(merged)


def next_version(models: Sequence[ModelVersion]) -> str:
    """Which version of one model new weights become; ``models`` are its versions so far."""
    newest = max(models, key=lambda model: int(model.version))
    return newest.version if newest.needs_weights else str(int(newest.version) + 1)


def _entry(table: dict[str, Any]) -> Registered:
    return Registered(
        model=str(table["model"]),
        version=str(table["version"]),
        weights=weights_file(table["weights"]),
        inputs={str(name): list(shape) for name, shape in table.get("inputs", {}).items()},
    )


def _toml(entry: Registered) -> str:
    weights = entry.weights
    # JSON strings and lists of whole numbers are TOML too
    lines = [
        "\n[[registered]]",
        f"model = {json.dumps(entry.model)}",
        f"version = {json.dumps(entry.version)}",
        "\n[registered.weights]",
        f"file = {json.dumps(weights.file)}",
        f"sha256 = {json.dumps(weights.sha256)}",
        f"bytes = {weights.bytes}",
        f"licence = {json.dumps(weights.licence)}",
        f"source = {json.dumps(weights.source)}",
        "\n[registered.inputs]",
        *(f"{json.dumps(name)} = {json.dumps(shape)}" for name, shape in entry.inputs.items()),
    ]
    return "\n".join(lines) + "\n"
