"""The stand-in shows on a CPU what fp16 arithmetic loses, which the variant itself does not."""

import numpy as np
from onnx import TensorProto, helper, load_from_string, numpy_helper

from engines.halving.graph import halve
from engines.halving.rounding import rounded
from engines.runners.ort import OrtRunner


def two_products(first, second):
    """``y`` = second * (first * x), each a 1x1 convolution; no fp32 value between them."""
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "v"], ["c"]),
            helper.make_node("Conv", ["c", "w"], ["y"]),
        ],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 2, 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(np.float32(value).reshape(1, 1, 1, 1), name)
            for name, value in (("v", first), ("w", second))
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


def ran(model, value):
    with OrtRunner(model, threads=1) as runner:
        return float(runner.run({"x": np.full((1, 1, 2, 2), value, np.float32)})["y"][0, 0, 0, 0])


def test_every_value_between_operators_is_rounded():
    half = halve(two_products(1 / 3, 3))
    third = np.float16(np.float32(np.float16(1 / 3)) * np.float32(np.float16(0.7)))
    assert ran(rounded(half), 0.7) == float(np.float16(3 * np.float32(third)))


def test_an_overflow_between_operators_shows():
    half = halve(two_products(5000, 1 / 5000))
    assert np.isfinite(ran(half, 20))  # 100 000 in between, computed in fp32 here
    assert np.isinf(ran(rounded(half), 20))


def test_nothing_in_it_is_fp16_but_what_is_rounded():
    nodes = load_from_string(rounded(halve(two_products(2, 3)))).graph.node
    assert [node.op_type for node in nodes].count("Conv") == 2
    assert not [
        node for node in nodes if node.op_type != "Cast" and any("short" in n for n in node.input)
    ]
