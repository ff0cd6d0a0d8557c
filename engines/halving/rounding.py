"""What an fp16 network computes, on a runner that has no fp16 arithmetic.

ONNX Runtime's CPU provider runs most fp16 operators in fp32 and leaves out the casts between them,
so an overflow, or digits lost on the way, would show on the GPU only. Here every value that is
fp16 in the variant is rounded to it explicitly; sums stay fp32 inside an operator, as in cuDNN and
TensorRT.
"""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from engines.halving.graph import HALF


def rounded(half: bytes) -> bytes:
    """The variant as an fp32 network that rounds every value the variant holds in fp16."""
    network = onnx.load_from_string(half)
    graph = network.graph
    nodes: list[Any] = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0].endswith(HALF):
            nodes.append(helper.make_node("Identity", node.input, node.output, node.name))
            continue
        outputs = [name for name in node.output if name.endswith(HALF)]
        if node.op_type == "Cast" and outputs:
            nodes += _rounding(node.input[0], outputs[0])
            continue
        for index, name in enumerate(node.output):
            if name.endswith(HALF):
                node.output[index] = f"{name}/exact"
        nodes.append(node)
        for name in outputs:
            nodes += _rounding(f"{name}/exact", name)
    weights = [_widened(each) for each in graph.initializer]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    content: bytes = network.SerializeToString()
    return content


def _rounding(source: str, target: str) -> list[Any]:
    short = f"{target}/short"
    return [
        helper.make_node("Cast", [source], [short], f"{target}/down", to=TensorProto.FLOAT16),
        helper.make_node("Cast", [short], [target], f"{target}/up", to=TensorProto.FLOAT),
    ]


def _widened(tensor: Any) -> Any:  # noqa: ANN401 - onnx's own classes
    if not tensor.name.endswith(HALF):
        return tensor
    return numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
