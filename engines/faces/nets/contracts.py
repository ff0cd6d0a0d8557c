"""What a face network must be fed and how it is read, as declared in ``contracts.toml``."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineFaultError
from engines.faces.align.crop import Border
from engines.faces.align.templates import Template
from engines.faces.nets.scaling import Colour, Scaling
from engines.manifest import ManifestError

FILE = Path(__file__).parent / "contracts.toml"

Vectors = NDArray[np.float32]  # [n, dimensions]


class ContractError(EngineFaultError):
    """Raised when weights have other inputs or outputs than their contract; no retry helps."""

    code = "weights_unreadable"
    retryable = False


class Latent(StrEnum):
    """How a swapper is told whose face to draw."""

    EMAP = "emap"  # the unit embedding times a matrix inside the weights, unit again
    CONVERTED = "converted"  # the raw embedding through a small network of its own
    UNIT = "unit"  # the unit embedding


@dataclass(frozen=True, slots=True)
class EmbedderContract:
    """A network that tells people apart: crops in, vectors out, not normalised."""

    name: str
    template: Template
    size: int  # side of a crop, pixels
    scaling: Scaling
    dimensions: int  # of a vector


@dataclass(frozen=True, slots=True)
class SwapperContract:
    """A network that draws a face anew: crop and latent in, crop out."""

    name: str
    template: Template
    size: int
    scaling: Scaling
    latent: Latent
    embedder: str  # the contract whose embeddings it was trained with
    border: Border


@dataclass(frozen=True, slots=True)
class EnhancerContract:
    """A network that sharpens a face: crop in, crop out, ``factor`` times as large."""

    name: str
    template: Template
    size: int
    scaling: Scaling
    factor: int
    border: Border


def embedder_contract(name: str) -> EmbedderContract:
    """A contract by name; raises ``ManifestError`` for one that is not declared."""
    table = _table("embedders", name)
    return EmbedderContract(**_position(name, table), dimensions=int(table["dimensions"]))


def swapper_contract(name: str) -> SwapperContract:
    """A contract by name; raises ``ManifestError`` for one that is not declared."""
    table = _table("swappers", name)
    return SwapperContract(
        **_position(name, table),
        latent=Latent(table["latent"]),
        embedder=table["embedder"],
        border=Border(table["border"]),
    )


def enhancer_contract(name: str) -> EnhancerContract:
    """A contract by name; raises ``ManifestError`` for one that is not declared."""
    table = _table("enhancers", name)
    return EnhancerContract(
        **_position(name, table), factor=int(table["factor"]), border=Border(table["border"])
    )


def _table(kind: str, name: str) -> Mapping[str, Any]:
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))[kind]
    if name not in tables:
        message = f"there is no contract {name!r} for {kind}; there are {', '.join(tables)}"
        raise ManifestError(message)
    table: Mapping[str, Any] = tables[name]
    return table


def _position(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    scaling = Scaling(Colour(table["colour"]), tuple(table["mean"]), tuple(table["std"]))
    return {
        "name": name,
        "template": Template(table["template"]),
        "size": int(table["size"]),
        "scaling": scaling,
    }
