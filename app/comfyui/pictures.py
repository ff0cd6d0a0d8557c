"""What each output of a valid graph shows: a picture, coloured, enlarged, brought to a size. Pure.

Every node that makes a picture takes one, so what an output shows is a line from a LoadImage.
Scaling in front of the colouring and behind it are the same here: the network looks at a small copy
of its own, so only the size of the result differs, and that is reached in one step at the end.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from app.comfyui.errors import ErrorBody, error_body
from app.comfyui.graph import Graph, Node, as_link, upstream
from app.comfyui.nodes import (
    CHECKPOINT_DEFAULT,
    CHECKPOINT_INPUTS,
    KINDS,
    SIZE_INPUTS,
    Role,
)
from app.comfyui.validation import converted

SIDE_STEP: Final = 32  # what a network of DDColor's form takes
_FACTOR = re.compile(r"(?<![0-9])([24])x|x([24])(?![0-9])", re.IGNORECASE)
_FILTERS = {
    "nearest-exact": "nearest",
    "bilinear": "bilinear",
    "area": "bilinear",  # which averages first wherever it makes smaller
    "bicubic": "bicubic",
    "lanczos": "lanczos",
}


@dataclass(frozen=True, slots=True)
class Colouring:
    """What a colouring node asks for."""

    node_id: str
    checkpoint: str
    input_size: int  # pixels, a multiple of 32
    chroma: str | None  # None: the node does not say
    kind: str


@dataclass(frozen=True, slots=True)
class Scaling:
    """One scaling node, or a network that enlarges (``factor`` alone is set)."""

    node_id: str
    factor: int = 1
    width: int = 0  # pixels; 0: follows from the other side
    height: int = 0
    by: float | None = None
    megapixels: float | None = None
    filter: str = "lanczos"
    is_cropped: bool = False

    def size_after(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of what it makes of a picture of this size."""
        if self.by is not None:
            return max(1, round(width * self.by)), max(1, round(height * self.by))
        if self.megapixels is not None:
            scale = math.sqrt(self.megapixels * 1024 * 1024 / (width * height))
            return max(1, round(width * scale)), max(1, round(height * scale))
        if self.width or self.height:
            return (
                self.width or max(1, round(width * self.height / height)),
                self.height or max(1, round(height * self.width / width)),
            )
        return width * self.factor, height * self.factor


@dataclass(frozen=True, slots=True)
class Shown:
    """What one output shows."""

    source: str  # the LoadImage node
    nodes: tuple[str, ...]  # all that it needs, in the order in which they run
    colouring: Colouring | None = None
    scalings: tuple[Scaling, ...] = ()  # in their order

    @property
    def upscale(self) -> int:
        """The factor of the network that enlarges; 1 without one."""
        return next((each.factor for each in self.scalings if each.factor > 1), 1)

    def sizing_params(self, width: int, height: int) -> dict[str, Any]:
        """Parameters of the job that make the result as large as asked, of an input in pixels."""
        wanted: dict[str, Any] = {"upscale": self.upscale}
        plain = [each for each in self.scalings if each.factor == 1]
        size = self.size(width, height)
        if plain and size != (width * self.upscale, height * self.upscale):
            wanted |= {
                "output_size": [size[1], size[0]],
                "output_fit": "crop" if plain[-1].is_cropped else "stretch",
                "output_filter": plain[-1].filter,
            }
        return wanted

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the result."""
        size = width, height
        for each in self.scalings:
            size = each.size_after(*size)
        return size


class UnsupportedError(Exception):
    """Raised for a valid graph that no job of ours can be; names the node."""

    def __init__(self, node_id: str, details: str) -> None:
        super().__init__(details)
        self.node_id = node_id
        self.error: ErrorBody = error_body(
            "custom_validation_failed", "Custom validation failed for node", details
        )


def shown_by(graph: Graph, output: str) -> Shown:
    """Follow an output up to the picture that it begins with.

    Raises:
        UnsupportedError: it is coloured or enlarged twice, or only scaled.
    """
    line = _line(graph, output)
    shown = Shown(source=line[0].id, nodes=tuple(upstream(graph, output)))
    for node in line:
        shown = _with(graph, shown, node)
    if shown.scalings and shown.colouring is None:
        raise UnsupportedError(
            shown.scalings[0].node_id,
            "this server scales what it colours: put a DDColor_Colorize into the line",
        )
    return shown


def _line(graph: Graph, output: str) -> list[Node]:
    """The nodes from LoadImage to just before the output."""
    line: list[Node] = []
    node = graph[output]
    while node.node_class.role is not Role.LOAD:
        name = "images" if node.node_class.role is Role.OUTPUT else "image"
        link = as_link(node.inputs[name])
        assert link is not None  # noqa: S101 - validated
        node = graph[link[0]]
        line.append(node)
    return line[::-1]


def _with(graph: Graph, shown: Shown, node: Node) -> Shown:
    match node.node_class.role:
        case Role.COLOUR if shown.colouring is not None:
            raise UnsupportedError(node.id, "the picture is coloured already: once is enough")
        case Role.COLOUR:
            return replace(shown, colouring=_colouring(graph, node))
        case Role.SCALE | Role.UPSCALE:
            return replace(shown, scalings=(*shown.scalings, _scaling(graph, shown, node)))
    return shown


def _scaling(graph: Graph, shown: Shown, node: Node) -> Scaling:
    if any(each.is_cropped for each in shown.scalings):
        raise UnsupportedError(node.id, "nothing can scale after a crop: crop in the last node")
    if node.node_class.role is Role.SCALE:
        return _plain(node)
    if shown.upscale > 1:
        raise UnsupportedError(node.id, "one network enlarges: use one model of x4 instead of two")
    loader = graph[cast(list[Any], node.inputs["upscale_model"])[0]]
    return Scaling(node.id, factor=_factor(loader))


def _plain(node: Node) -> Scaling:
    value = {
        name: converted(wanted, node.inputs[name])
        for name, wanted in node.node_class.inputs.items()
        if wanted.kind in {"INT", "FLOAT"}
    }
    return Scaling(
        node.id,
        width=int(value.get("width", 0)),
        height=int(value.get("height", 0)),
        by=_number(value, "scale_by"),
        megapixels=_number(value, "megapixels"),
        filter=_FILTERS[node.inputs["upscale_method"]],
        is_cropped=node.inputs.get("crop") == "center",
    )


def _number(values: Mapping[str, int | float | str], name: str) -> float | None:
    return float(values[name]) if name in values else None


def _factor(loader: Node) -> int:
    found = _FACTOR.search(loader.inputs["model_name"])
    if found is None:
        raise UnsupportedError(
            loader.id, "name a model that says x2 or x4, for example RealESRGAN_x4.pth"
        )
    return int(found[1] or found[2])


def _colouring(graph: Graph, node: Node) -> Colouring:
    inputs = node.inputs
    sizes = [name for name in SIZE_INPUTS if name in inputs]
    size = int(converted(node.node_class.inputs[sizes[0]], inputs[sizes[0]])) if sizes else 512
    return Colouring(
        node_id=node.id,
        checkpoint=_checkpoint(graph, node),
        input_size=max(SIDE_STEP, round(size / SIDE_STEP) * SIDE_STEP),
        chroma=inputs.get("chroma"),
        kind=inputs.get("type", KINDS[0]),
    )


def _checkpoint(graph: Graph, node: Node) -> str:
    """Named here, or by the loader that is linked."""
    for name in CHECKPOINT_INPUTS:
        link = as_link(node.inputs.get(name))
        if link is not None:
            return _checkpoint(graph, graph[link[0]])
        if name in node.inputs:
            return str(node.inputs[name])
    return CHECKPOINT_DEFAULT
