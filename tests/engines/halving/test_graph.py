"""The fp16 variant: what is converted, what stays, and that it computes nearly the same."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.errors import EngineFaultError
from engines.halving.graph import halve
from engines.runners.ort import OrtRunner


def network(nodes, initializers=(), *, outputs=("y",), shape=(1, 3, 8, 8)):
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


def weights(*shape, seed=1):
    return np.random.default_rng(seed).normal(0, 0.2, shape).astype(np.float32)


def ran(model, feed):
    with OrtRunner(model, threads=1) as runner:
        return runner.run({runner.inputs[0].name: feed})


def types_of(model):
    """What each node computes in, by its output's name."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(model), strict_mode=True)
    graph = inferred.graph
    known = {
        each.name: each.type.tensor_type.elem_type
        for each in (*graph.value_info, *graph.input, *graph.output)
    }
    return {node.output[0]: known[node.output[0]] for node in graph.node}


CONV = helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])
FEED = np.random.default_rng(0).random((1, 3, 8, 8)).astype(np.float32)


def test_products_are_halved_and_what_follows_the_last_of_them_is_not():
    tail = helper.make_node("Mul", ["c", "scale"], ["y"])
    whole = network([CONV, tail], [("w", weights(4, 3, 3, 3)), ("scale", np.float32([640]))])
    half = halve(whole)
    types = types_of(half)
    assert types["c/fp16"] == TensorProto.FLOAT16
    assert (types["c"], types["y"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    expected = ran(whole, FEED)["y"]
    assert np.abs(ran(half, FEED)["y"] - expected).max() < 2e-3 * np.abs(expected).max()


def test_inputs_and_outputs_keep_their_names_and_types():
    half = onnx.load_from_string(
        halve(network([CONV, helper.make_node("Relu", ["c"], ["y"])], [("w", weights(4, 3, 3, 3))]))
    )
    (given,), (made,) = half.graph.input, half.graph.output
    assert (given.name, made.name) == ("x", "y")
    assert given.type.tensor_type.elem_type == made.type.tensor_type.elem_type == TensorProto.FLOAT


def test_delicate_nodes_between_products_stay_in_fp32():
    softmax = helper.make_node("Softmax", ["c"], ["s"], axis=1)
    second = helper.make_node("Conv", ["s", "v"], ["y"])
    whole = network(
        [CONV, softmax, second], [("w", weights(4, 3, 3, 3)), ("v", weights(2, 4, 1, 1))]
    )
    half = halve(whole)
    types = types_of(half)
    assert types["s"] == TensorProto.FLOAT
    assert types["y/fp16"] == types["c/fp16"] == TensorProto.FLOAT16
    assert np.allclose(ran(half, FEED)["y"], ran(whole, FEED)["y"], atol=2e-3)


def test_weights_that_both_halves_use_are_there_twice_and_others_once():
    shared = helper.make_node("Mul", ["c", "k"], ["m"])
    second = helper.make_node("Conv", ["m", "v"], ["d"])
    tail = helper.make_node("Mul", ["d", "k"], ["y"])
    whole = network(
        [CONV, shared, second, tail],
        [("w", weights(4, 3, 3, 3)), ("v", weights(2, 4, 1, 1)), ("k", np.float32([3]))],
    )
    half = halve(whole)
    names = {each.name for each in onnx.load_from_string(half).graph.initializer}
    assert names == {"w/fp16", "v/fp16", "k/fp16", "k"}
    assert np.allclose(ran(half, FEED)["y"], ran(whole, FEED)["y"], atol=2e-2)


def test_a_resize_keeps_its_scales_in_fp32():
    resize = helper.make_node("Resize", ["c", "", "scales"], ["r"], mode="nearest")
    second = helper.make_node("Conv", ["r", "v"], ["y"])
    whole = network(
        [CONV, resize, second],
        [
            ("w", weights(4, 3, 3, 3)),
            ("v", weights(2, 4, 1, 1)),
            ("scales", np.float32([1, 1, 2, 2])),
        ],
    )
    half = halve(whole)
    kinds = {each.name: each.data_type for each in onnx.load_from_string(half).graph.initializer}
    assert kinds["scales"] == TensorProto.FLOAT
    assert ran(half, FEED)["y"].shape == (1, 2, 16, 16)


def test_an_output_inside_the_network_is_given_in_fp32():
    second = helper.make_node("Conv", ["c", "v"], ["y"])
    whole = network(
        [CONV, second], [("w", weights(4, 3, 3, 3)), ("v", weights(2, 4, 1, 1))], outputs=("c", "y")
    )
    outputs = ran(halve(whole), FEED)
    assert {name: array.dtype for name, array in outputs.items()} == {
        "c": np.float32,
        "y": np.float32,
    }


def test_the_variant_says_what_it_is_and_what_it_was_made_of():
    whole = network([CONV, helper.make_node("Relu", ["c"], ["y"])], [("w", weights(4, 3, 3, 3))])
    with OrtRunner(halve(whole), threads=1) as runner:
        assert runner.precision == "fp16"
        source = runner.metadata["pixelmeter_source_sha256"]
    assert source == hashlib.sha256(whole).hexdigest()


def test_the_same_file_gives_the_same_variant():
    whole = network([CONV, helper.make_node("Relu", ["c"], ["y"])], [("w", weights(4, 3, 3, 3))])
    assert halve(whole) == halve(whole)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: network([helper.make_node("Relu", ["x"], ["y"])]), "nothing in it"),
        (
            lambda: network(
                [CONV, helper.make_node("Relu", ["c"], ["y"])], [("w", weights(4, 3, 3, 3) * 1e6)]
            ),
            "w exceed 65504",
        ),
        (
            lambda: halve(
                network(
                    [CONV, helper.make_node("Relu", ["c"], ["y"])], [("w", weights(4, 3, 3, 3))]
                )
            ),
            "is fp16 already",
        ),
    ],
)
def test_what_cannot_be_halved_is_refused_with_the_reason(make, said):
    with pytest.raises(EngineFaultError, match=said) as refused:
        halve(make())
    assert refused.value.code == "precision_unavailable"
    assert not refused.value.retryable


@pytest.mark.parametrize(
    "file", ["yolov8n_recon_dyn.onnx", "yolov8n_recon.onnx", "yunet_n_dynamic.onnx"]
)
def test_real_networks_are_halved_and_valid(model_mirror, file):
    whole = (model_mirror / file).read_bytes()
    half = halve(whole)
    onnx.checker.check_model(onnx.load_from_string(half))
    assert len(half) < 0.6 * len(whole)
