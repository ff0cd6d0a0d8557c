"""Convert an ONNX network to fp16 where that is safe; inputs and outputs stay what they were.

What computes in fp16: convolutions and matrix products, and what lies between the input and the
last of them, of the kinds in ``_HALF``. What stays in fp32: everything behind the last of them (a
detector's boxes in pixels would lose half a pixel), and kinds whose range or sums fp16 does not
bear (softmax, norms, exponentials, divisions, reductions). A value that crosses is cast once.

onnxconverter-common does this too, but casts between neighbours that both stay in fp32, so that
boxes are rounded all the same, and gives networks that do not load for exports with free sizes.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.errors import EngineFaultError

PRECISION_KEY, SOURCE_KEY = "pixelmeter_precision", "pixelmeter_source_sha256"
HALF = "/fp16"  # ends the names of the values that became fp16

_HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_HALF = _HEAVY | {
    "Add", "AveragePool", "Clip", "Concat", "DepthToSpace", "Elu", "Flatten", "GlobalAveragePool",
    "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "MaxPool", "Mul", "PRelu", "Pad", "Relu",
    "Reshape", "Resize", "Sigmoid", "Slice", "SpaceToDepth", "Split", "Squeeze", "Sub", "Tanh",
    "Transpose", "Unsqueeze",
}  # fmt: skip
_FIRST_INPUT_ONLY = frozenset({"Resize"})  # its scales are fp32 by definition
_LARGEST = float(np.finfo(np.float16).max)


def halve(model: bytes) -> bytes:
    """The fp16 variant of a network.

    Raises:
        EngineFaultError: code ``precision_unavailable``: it is fp16 already, has nothing that gains
            by fp16, or weights that fp16 cannot hold.
    """
    network = onnx.load_from_string(model)
    if any(each.key == PRECISION_KEY for each in network.metadata_props):
        raise _unavailable("it is fp16 already")
    floats = _float_values(onnx.shape_inference.infer_shapes(network))
    halved = _halved_nodes(network.graph, floats)
    if not halved:
        raise _unavailable("nothing in it would run in fp16")
    _Rewriting(network.graph, floats, halved).rewrite()
    del network.graph.value_info[:]
    properties = {each.key: each.value for each in network.metadata_props}
    source = hashlib.sha256(model).hexdigest()
    helper.set_model_props(network, {**properties, PRECISION_KEY: "fp16", SOURCE_KEY: source})
    content: bytes = network.SerializeToString()
    return content


def _float_values(network: Any) -> set[str]:  # noqa: ANN401 - onnx's own classes
    """Names of the values that are fp32."""
    graph = network.graph
    values = (*graph.value_info, *graph.input, *graph.output)
    names = {each.name for each in values if each.type.tensor_type.elem_type == TensorProto.FLOAT}
    return names | {each.name for each in graph.initializer if each.data_type == TensorProto.FLOAT}


def _halved_nodes(graph: Any, floats: set[str]) -> set[int]:  # noqa: ANN401
    """Places of the nodes that compute in fp16."""
    leads_on: set[str] = set()  # values that a heavy node needs, directly or not
    halved = set()
    for place in reversed(range(len(graph.node))):
        node = graph.node[place]
        if node.op_type not in _HEAVY and not leads_on & set(node.output):
            continue
        leads_on |= set(node.input)
        if node.op_type in _HALF and node.output[0] in floats:
            halved.add(place)
    return halved


class _Rewriting:
    """Rewrites one graph in place: node by node, with casts where a value crosses."""

    def __init__(self, graph: Any, floats: set[str], halved: set[int]) -> None:  # noqa: ANN401
        self._graph = graph
        self._floats = floats
        self._halved = halved
        self._weights = {each.name: each for each in graph.initializer}
        self._as_half: dict[str, str] = {}
        self._nodes: list[Any] = []
        made = [graph.node[place] for place in halved]
        self._made_half = {name for node in made for name in node.output if name in floats}
        self._needed_full = self._needed_by_others()

    def rewrite(self) -> None:
        for place, node in enumerate(self._graph.node):
            if place not in self._halved:
                self._nodes.append(node)
                continue
            count = 1 if node.op_type in _FIRST_INPUT_ONLY else len(node.input)
            for index in range(count):
                if node.input[index] in self._floats:
                    node.input[index] = self._half(node.input[index])
            self._nodes.append(node)
            self._rename_outputs(node)
        used = {name for node in self._nodes for name in _inputs(node)}
        used |= {each.name for each in self._graph.output}
        kept = [each for each in self._graph.initializer if each.name in used]
        del self._graph.node[:], self._graph.initializer[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(kept)

    def _needed_by_others(self) -> set[str]:
        others = [node for place, node in enumerate(self._graph.node) if place not in self._halved]
        names = {name for node in others for name in _inputs(node)}
        return names | {each.name for each in self._graph.output}

    def _rename_outputs(self, node: Any) -> None:  # noqa: ANN401
        """Its outputs get new names; the old ones stay what others know, by a cast."""
        for index, name in enumerate(node.output):
            if name not in self._floats:
                continue
            half = f"{name}{HALF}"
            node.output[index] = self._as_half[name] = half
            if name in self._needed_full:
                self._cast(half, name, TensorProto.FLOAT)

    def _half(self, name: str) -> str:
        """The fp16 twin of a value, made once."""
        if name not in self._as_half:
            half = f"{name}{HALF}"
            self._as_half[name] = half
            if name in self._weights:
                numbers = numpy_helper.to_array(self._weights[name])
                if numbers.size and np.abs(numbers).max() > _LARGEST:
                    raise _unavailable(f"its weights {name} exceed {_LARGEST:.0f}")
                tensor = numpy_helper.from_array(numbers.astype(np.float16), half)
                self._graph.initializer.append(tensor)
            else:
                self._cast(name, half, TensorProto.FLOAT16)
        return self._as_half[name]

    def _cast(self, source: str, target: str, to: int) -> None:
        self._nodes.append(helper.make_node("Cast", [source], [target], f"{target}/cast", to=to))


def _inputs(node: Any) -> Iterator[str]:  # noqa: ANN401
    """What a node reads, in its inner graphs too."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _inputs(inner)


def _unavailable(reason: str) -> EngineFaultError:
    error = EngineFaultError(f"no fp16 variant: {reason}", code="precision_unavailable")
    error.retryable = False
    return error
