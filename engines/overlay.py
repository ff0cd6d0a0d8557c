"""What an operator decided on this machine: ``registry.toml`` in the store folder.

Weights that were registered, and which version of a model its name means. The file adds to the
shipped manifests and never changes them. A version's weights are fixed once registered: new
weights of a model become its next version. Every change replaces the file as a whole, so a process
that reads it sees the state before or after, and sees it at its next look.
"""

import fcntl
import json
import os
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from engines.manifest import ManifestError, ModelVersion, WeightsFile, weights_file

_HEADER = "# Written by `pixelmeter models add`, `activate` and `convert`.\n"


@dataclass(frozen=True, slots=True)
class Registered:
    """One operator's file and the model version it serves."""

    model: str  # yolov8s
    version: str  # 1
    weights: WeightsFile
    inputs: dict[str, list[int]] = field(default_factory=dict)  # by input name; -1: any length
    halved_from: str | None = None  # an fp16 variant: sha256 of the weights it was made of


@dataclass(frozen=True, slots=True)
class Active:
    """Which version the plain name of a model means, and which one it meant before."""

    engine: str
    model: str
    version: str
    previous: str


@dataclass(frozen=True, slots=True)
class Decisions:
    """Everything the file says."""

    registered: tuple[Registered, ...] = ()
    active: tuple[Active, ...] = ()

    def active_in(self, engine: str) -> dict[str, Active]:
        """The decisions about an engine's models, by model name."""
        return {each.model: each for each in self.active if each.engine == engine}


class Overlay:
    """The contents of one file, read again only when it changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # time of change, size, inode; and what was read of exactly that file
        self._known: tuple[tuple[int, int, int] | None, Decisions] = (None, Decisions())

    def read(self) -> Decisions:
        """What was decided by now, also by another process; raises ``ManifestError``."""
        try:
            stat = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return Decisions()
        seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        if seen != self._known[0]:
            self._known = (seen, read_overlay(self._path))
        return self._known[1]

    def change(self, decide: Callable[[Decisions], Decisions]) -> Decisions:
        """Replace the contents by what ``decide`` makes of them, and return it.

        Changes of several processes follow one another: none is lost. The folder must exist.
        """
        with _writing(self._path):
            decided = decide(read_overlay(self._path))
            write_overlay(self._path, decided)
        return decided

    def append(self, entry: Registered, *, keep: tuple[str, str] | None = None) -> None:
        """Add one registered file.

        ``keep`` is an engine and the version that the model's plain name shall go on to mean,
        where nothing was decided about it yet.
        """

        def decide(now: Decisions) -> Decisions:
            active = now.active
            if keep is not None and entry.model not in now.active_in(keep[0]):
                active = (*active, Active(keep[0], entry.model, keep[1], keep[1]))
            return replace(now, registered=(*now.registered, entry), active=active)

        self.change(decide)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_overlay(path: Path) -> Decisions:
    """The contents of a file, empty when it does not exist; raises ``ManifestError``."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return Decisions(
            registered=tuple(_entry(entry) for entry in table.get("registered", ())),
            active=tuple(_active(entry) for entry in table.get("active", ())),
        )
    except FileNotFoundError:
        return Decisions()
    except (tomllib.TOMLDecodeError, ManifestError, KeyError, TypeError) as error:
        message = f"{path}: {error}; mend the entry or remove it and add the file again"
        raise ManifestError(message) from error


def write_overlay(path: Path, decisions: Decisions) -> None:
    """Replace the file by these contents, all or nothing."""
    text = _HEADER + "".join(
        [*map(_registered_toml, decisions.registered), *map(_active_toml, decisions.active)]
    )
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
            halved_from=entry.halved_from,
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
        halved_from=table.get("halved_from"),
    )


def _active(table: dict[str, Any]) -> Active:
    return Active(**{name: str(table[name]) for name in ("engine", "model", "version", "previous")})


def _active_toml(choice: Active) -> str:
    lines = [
        "\n[[active]]",
        f"engine = {json.dumps(choice.engine)}",
        f"model = {json.dumps(choice.model)}",
        f"version = {json.dumps(choice.version)}",
        f"previous = {json.dumps(choice.previous)}",
    ]
    return "\n".join(lines) + "\n"


def _registered_toml(entry: Registered) -> str:
    weights = entry.weights
    # JSON strings and lists of whole numbers are TOML too
    lines = [
        "\n[[registered]]",
        f"model = {json.dumps(entry.model)}",
        f"version = {json.dumps(entry.version)}",
        *([f"halved_from = {json.dumps(entry.halved_from)}"] if entry.halved_from else []),
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
