"""Whether an ONNX file may be loaded at all: what it consists of, before anything executes it.

Pure, and run in the confined child only: parsing a hostile protobuf is itself a risk. Everything
is looked at, inside sub-graphs and attributes too, because a runtime follows all of it.
"""

from collections.abc import Iterator
from math import prod
from typing import Any, Final

import onnx

from engines.foreign.refusal import ForeignWeightsError
from engines.foreign.signature import check_signature, not_onnx

NODES_MAX: Final = 20_000
TENSORS_MAX: Final = 20_000
RANK_MAX: Final = 8
ELEMENTS_MAX: Final = 2**28  # of one declared tensor: 1 GiB of floats
OPSETS: Final = range(7, 24)
CONTROL_DEPTH_MAX: Final = 2
CONTROL: Final = frozenset({"Loop", "Scan", "If"})
PLAIN_DOMAINS: Final = frozenset({"", "ai.onnx", "ai.onnx.ml"})
# Of the runtime's own operators those that exporters and quantisers write.
MICROSOFT: Final = frozenset(
    {
        "BiasGelu",
        "DequantizeLinear",
        "FastGelu",
        "FusedConv",
        "FusedGemm",
        "FusedMatMul",
        "Gelu",
        "LayerNormalization",
        "MatMulInteger16",
        "NhwcMaxPool",
        "QGemm",
        "QLinearAdd",
        "QLinearAveragePool",
        "QLinearConcat",
        "QLinearConv",
        "QLinearGlobalAveragePool",
        "QLinearLeakyRelu",
        "QLinearMul",
        "QLinearSigmoid",
        "QLinearSoftmax",
        "QuantizeLinear",
        "QuickGelu",
        "SkipLayerNormalization",
    }
)


def inspect(content: bytes) -> None:
    """Refuse a file that is not a plain, self-contained network of known operators.

    Raises:
        ForeignWeightsError: ``not_onnx``, ``weights_external_data``,
            ``weights_operator_forbidden`` or ``weights_too_complex``.
    """
    check_signature(content)
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # whatever the parser raised, the file is to blame
        raise not_onnx("The file is not an ONNX model") from error
    if not model.HasField("graph") or not model.graph.node:
        raise not_onnx("The file holds no network")
    _check_opsets(model)
    walk = _Walk()
    walk.graph(model.graph, depth=0)


def _check_opsets(model: Any) -> None:  # noqa: ANN401 - protobuf
    if model.functions:
        detail = "Local functions are not taken; export the network with plain operators."
        raise ForeignWeightsError(detail, code="weights_operator_forbidden")
    for imported in model.opset_import:
        if imported.domain in {"", "ai.onnx"} and imported.version not in OPSETS:
            detail = (
                f"Opset {imported.version} is not taken; export with {OPSETS[0]} to {OPSETS[-1]}."
            )
            raise ForeignWeightsError(detail, code="weights_operator_forbidden")


class _Walk:
    """Counts and checks everything once."""

    def __init__(self) -> None:
        self._nodes = 0
        self._tensors = 0

    def graph(self, graph: Any, *, depth: int) -> None:  # noqa: ANN401 - protobuf
        for tensor in graph.initializer:
            self._tensor(tensor)
        for sparse in graph.sparse_initializer:
            self._tensor(sparse.values)
            self._tensor(sparse.indices)
        for value in (*graph.input, *graph.output, *graph.value_info):
            _check_declared(value)
        for node in graph.node:
            self._node(node, depth=depth)

    def _node(self, node: Any, *, depth: int) -> None:  # noqa: ANN401 - protobuf
        self._nodes += 1
        if self._nodes > NODES_MAX:
            raise _too_complex(f"more than {NODES_MAX} operators")
        _check_operator(node)
        below = depth + (node.op_type in CONTROL)
        if below > CONTROL_DEPTH_MAX:
            raise _too_complex(f"loops and branches nested deeper than {CONTROL_DEPTH_MAX}")
        for attribute in node.attribute:
            for tensor in _tensors(attribute):
                self._tensor(tensor)
            for graph in (attribute.g, *attribute.graphs) if _has_graphs(attribute) else ():
                self.graph(graph, depth=max(below, depth + 1))

    def _tensor(self, tensor: Any) -> None:  # noqa: ANN401 - protobuf
        self._tensors += 1
        if self._tensors > TENSORS_MAX:
            raise _too_complex(f"more than {TENSORS_MAX} tensors")
        if tensor.external_data or tensor.data_location:
            detail = "The weights lie outside the file (external data). Save the model as one file."
            raise ForeignWeightsError(detail, code="weights_external_data")
        _check_dims(list(tensor.dims))


def _has_graphs(attribute: Any) -> bool:  # noqa: ANN401 - protobuf
    return attribute.HasField("g") or len(attribute.graphs) > 0


def _tensors(attribute: Any) -> Iterator[Any]:  # noqa: ANN401 - protobuf
    if attribute.HasField("t"):
        yield attribute.t
    yield from attribute.tensors
    sparse = [attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []
    for each in (*sparse, *attribute.sparse_tensors):
        yield each.values
        yield each.indices


def _check_operator(node: Any) -> None:  # noqa: ANN401 - protobuf
    known = node.domain in PLAIN_DOMAINS or (
        node.domain == "com.microsoft" and node.op_type in MICROSOFT
    )
    if not known:
        detail = (
            f"The operator {node.op_type[:60]!r} of the domain {node.domain[:60]!r} is not taken. "
            "Export the network with standard ONNX operators."
        )
        raise ForeignWeightsError(detail, code="weights_operator_forbidden")


def _check_declared(value: Any) -> None:  # noqa: ANN401 - protobuf
    if value.type.HasField("tensor_type"):
        dims = value.type.tensor_type.shape.dim
        _check_dims([dim.dim_value for dim in dims if dim.HasField("dim_value")])


def _check_dims(dims: list[int]) -> None:
    if len(dims) > RANK_MAX or any(length < 0 for length in dims):
        raise _too_complex(f"a tensor of {len(dims)} dimensions or of a negative length")
    if prod(dims) > ELEMENTS_MAX:
        raise _too_complex(f"a tensor of more than {ELEMENTS_MAX} numbers")


def _too_complex(what: str) -> ForeignWeightsError:
    detail = f"The network has {what}. Simplify it, for example with onnxsim, and send it again."
    return ForeignWeightsError(detail, code="weights_too_complex")
