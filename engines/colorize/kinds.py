"""Which model and size belong to a type of picture: shipped as data, changed by the operator."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.colorize.params import ColorizeParams, Kind
from engines.errors import InvalidInputError
from engines.halving.variant import half_of
from engines.manifest import ManifestError, ModelVersion
from engines.registry import Registry

SHIPPED = Path(__file__).parent / "kinds.toml"
OPERATORS = "colorize-kinds.toml"  # in the folder of the store
_STEP, _LARGEST = 32, 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """What belongs to one type."""

    model: str  # name, or name@version
    input_size: int  # pixels, a multiple of 32


def read_kinds(store: Path) -> dict[Kind, Choice]:
    """What is shipped, with the operator's file laid over it; raises ``ManifestError``."""
    choices = _read(SHIPPED, {})
    own = store / OPERATORS
    return _read(own, choices) if own.is_file() else choices


def preferred_model(registry: Registry, kind: Kind) -> str | None:
    """The model of a type, where it can run here; None: the first of the engine that can."""
    if kind is Kind.AUTO:
        return None
    name = read_kinds(registry.store_folder)[kind].model
    try:
        return name if registry.available(registry.resolve("colorize", name)) else None
    except InvalidInputError as error:
        message = f"{registry.store_folder / OPERATORS}: {error.detail}"
        raise ManifestError(message) from error


def seen_model(
    registry: Registry, model: ModelVersion, wanted: ColorizeParams, kind: Kind
) -> ModelVersion:
    """The model of what ``auto`` saw, if the job's is only the one that runs by default."""
    if wanted.type is not Kind.AUTO or registry.resolve("colorize", None) != model:
        return model
    name = preferred_model(registry, kind)
    return model if name is None else registry.resolve("colorize", name)


def precise(registry: Registry, model: ModelVersion, *, fp16: bool) -> ModelVersion:
    """The model itself, or its fp16 variant; raises code ``precision_unavailable`` without one."""
    if not fp16:
        return model
    half = half_of(registry, "colorize", model)
    if half is None:
        message = f"{model.id} is no network and has no half precision; send fp16 false"
        if model.weights or model.needs_weights:
            message = (
                f"{model.id} has no half-precision variant here; send fp16 false. Whoever runs "
                f"this machine makes one by `pixelmeter models convert colorize {model.id} --fp16`"
            )
        raise InvalidInputError(message, code="precision_unavailable")
    return half


def looking_size(
    registry: Registry, model: ModelVersion, wanted: ColorizeParams, kind: Kind
) -> tuple[int, int]:
    """Height and width at which colour is predicted."""
    if isinstance(wanted.input_size, tuple):
        return wanted.input_size
    side = wanted.input_size or _own_side(model)
    if side is None:
        side = read_kinds(registry.store_folder)[kind].input_size
        fixed = _exported_for(model)
        if fixed is not None:
            return fixed
    return side, side


def _own_side(model: ModelVersion) -> int | None:
    side = model.options.get("input_size")
    return side if isinstance(side, int) else None


def _exported_for(model: ModelVersion) -> tuple[int, int] | None:
    """The only size of an operator's file, if it has one; recorded when it was added."""
    inputs = model.options.get("inputs")
    if not isinstance(inputs, Mapping) or not inputs:
        return None
    height, width = next(iter(inputs.values()))[-2:]
    return None if min(height, width) < 1 else (height, width)


def _read(path: Path, base: Mapping[Kind, Choice]) -> dict[Kind, Choice]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        choices = dict(base)
        for name, entry in table.items():
            kind = Kind(name)
            choices[kind] = _choice(entry, choices.get(kind))
    except (OSError, tomllib.TOMLDecodeError, ValueError, TypeError, KeyError) as error:
        message = f"{path}: {error}; mend it, engines/colorize/kinds.toml shows the form"
        raise ManifestError(message) from error
    if set(choices) != {Kind.PERSON, Kind.BUILDING}:
        raise ManifestError(f"{path} must speak of person and building only")
    return choices


def _choice(entry: Mapping[str, Any], before: Choice | None) -> Choice:
    if unknown := set(entry) - {"model", "input_size"}:
        raise ValueError(f"unknown key {', '.join(sorted(unknown))}")
    model = entry["model"] if before is None else entry.get("model", before.model)
    side = entry["input_size"] if before is None else entry.get("input_size", before.input_size)
    if not isinstance(model, str) or type(side) is not int:
        raise TypeError("model must be a text and input_size a whole number")
    if side % _STEP or not _STEP <= side <= _LARGEST:
        raise ValueError(f"input_size must be a multiple of {_STEP}, at most {_LARGEST}")
    return Choice(model, side)
