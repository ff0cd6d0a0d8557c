"""Which runs are alike: the same engine, model, medium, variant, and nearly the same size. Pure.

Sizes and lengths are compared by powers of two: finer classes would each hold too few runs, and
within one the time per pixel hardly differs.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_UNITS: Final = ("frames", "images")
# What differs between plan and measurement, or is size: no part of the variant.
_NOT_VARIANT: Final = frozenset(
    {
        *_UNITS, "seconds", "megapixels", "input_pixels", "faces", "extra_faces",
        "cached_embeddings", "bytes_in", "bytes_out", "vram_mb_s", "media", "model", "width",
        "height", "type",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """What runs have in common that take about the same time per picture or frame."""

    engine: str
    model: str
    media: str
    variant: str
    size_class: int
    length_class: int


@dataclass(frozen=True, slots=True)
class Sized:
    """A piece of work as a kind and how many pictures or frames of it."""

    kind: Kind
    units: float


def sized(
    *,
    engine: str,
    model: str,
    quantities: Mapping[str, float],
    attributes: Mapping[str, str | int],
) -> Sized:
    """The kind of a piece of work, planned or measured."""
    units = max(1.0, next((quantities[name] for name in _UNITS if name in quantities), 1.0))
    kind = Kind(
        engine=engine,
        model=model,
        media=str(attributes.get("media", "image")),
        variant=_variant(quantities, attributes),
        size_class=_log2(_pixels(quantities, attributes)),
        length_class=_log2(units),
    )
    return Sized(kind, units)


def _pixels(quantities: Mapping[str, float], attributes: Mapping[str, str | int]) -> float:
    """Of one picture or frame, as the engine works on it."""
    if "input_pixels" in quantities:
        return quantities["input_pixels"]
    if "megapixels" in quantities:
        return quantities["megapixels"] * 1_000_000
    return float(attributes.get("width", 0)) * float(attributes.get("height", 0))


def _variant(quantities: Mapping[str, float], attributes: Mapping[str, str | int]) -> str:
    told = {
        name: value
        for name, value in {**quantities, **attributes}.items()
        if name not in _NOT_VARIANT and not name.startswith("gpu_ms") and value
    }
    return ",".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in sorted(told.items())
    )


def _log2(value: float) -> int:
    return math.floor(math.log2(max(1.0, value)))
