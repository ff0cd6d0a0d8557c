"""fp16 as weights of its own: checked, refused, registered, found, and never meant by accident."""

import hashlib

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.activation import activate
from engines.errors import EngineFaultError, InvalidInputError
from engines.halving.variant import convert, half_of
from engines.overlay import read_overlay
from engines.presence import Presence
from engines.registry import OVERLAY_FILE, Registry
from engines.runners.ort import open_onnx


def conv(scale, *, tail=()):
    """A network of 3x3 sums over three channels; ``tail`` leads from ``c`` to ``y``."""
    weights = np.full((2, 3, 3, 3), scale, dtype=np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1])]
    nodes += tail or [helper.make_node("Relu", ["c"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 64, 64))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(weights, "w"),
            numpy_helper.from_array(np.full((1, 2, 1, 1), 0.5, dtype=np.float32), "v"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return model.SerializeToString()


@pytest.fixture
def opened(engine_folder, tmp_path):
    """A registry whose model ``net`` is a network; each call opens it anew."""

    def open_with(content: bytes) -> Registry:
        mirror = tmp_path / "mirror"
        mirror.mkdir(exist_ok=True)
        path = mirror / "net.onnx"
        path.write_bytes(content)
        return Registry([engine_folder(path)], store=tmp_path / "store", mirror=str(mirror))

    return open_with


def test_a_variant_is_a_version_with_its_own_sha256_and_says_what_it_was_made_of(opened):
    content = conv(0.1)
    registry = opened(content)
    made = convert(registry, "sums", "net@1")
    source = hashlib.sha256(content).hexdigest()
    [file] = made.model.weights
    assert (made.model.id, made.model.halved_from) == ("net@2", source)
    assert (file.licence, file.source) == ("MIT", f"fp16 of net@1 (sha256 {source})")
    path = registry.weights_path(made.model)  # hashed, and right
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() != source
    with open_onnx(path, threads=1) as runner:
        assert runner.precision == "fp16"
    assert 0 < made.difference.share < 0.01
    assert made.difference.inputs == 4
    verdicts = {each.model: each.presence for each in registry.verify()}
    assert verdicts["net@2"] is Presence.OK


def test_another_process_reads_the_same(opened):
    content = conv(0.1)
    made = convert(opened(content), "sums", "net")
    again = opened(content)
    assert again.resolve("sums", "net@2") == made.model
    assert half_of(again, "sums", again.resolve("sums", "net@1")) == made.model
    assert half_of(again, "sums", made.model) == made.model


def test_the_plain_name_means_a_variant_only_when_it_was_activated(opened):
    registry = opened(conv(0.1))
    convert(registry, "sums", "net")
    assert registry.resolve("sums", "net").id == "net@1"
    assert registry.resolve("sums", None).id == "net@1"
    activate(registry, "sums", "net@2")
    assert registry.resolve("sums", "net").id == "net@2"
    with pytest.raises(InvalidInputError, match="is fp16 already"):
        convert(registry, "sums", "net")


def test_new_weights_after_a_variant_are_no_variant_and_have_none(opened, tmp_path):
    registry = opened(conv(0.1))
    convert(registry, "sums", "net")
    newer = tmp_path / "newer.onnx"
    newer.write_bytes(conv(0.2))
    added = registry.add("net", newer, licence="MIT")
    assert (added.id, added.halved_from) == ("net@3", None)
    assert registry.resolve("sums", "net") == added
    assert half_of(registry, "sums", added) is None


def test_converting_again_finds_the_variant(opened):
    registry = opened(conv(0.1))
    first = convert(registry, "sums", "net")
    again = convert(registry, "sums", "net")
    assert (again.model, again.difference) == (first.model, None)


def test_a_variant_whose_file_is_gone_is_none(opened):
    registry = opened(conv(0.1))
    made = convert(registry, "sums", "net")
    registry.weights_path(made.model).unlink()
    assert half_of(registry, "sums", registry.resolve("sums", "net@1")) is None


NAN = [  # what overflows minus itself: 0 in fp32, NaN in fp16
    helper.make_node("Sub", ["c", "c"], ["d"]),
    helper.make_node("Conv", ["d", "v"], ["y"]),
]


@pytest.mark.parametrize(
    ("content", "tolerance", "said"),
    [
        (conv(0.1), 1e-6, r"differs by 0\.0\d% in y, more than 0\.00%"),
        (conv(5000), 0.02, "fp16 gives infinity in the output y"),
        (conv(5000, tail=NAN), 0.02, "in fp16 the network's output y is not a number"),
    ],
    ids=["tolerance", "infinity", "nan"],
)
def test_what_fp16_loses_is_refused_with_the_figure_and_nothing_is_kept(
    opened, content, tolerance, said, tmp_path
):
    registry = opened(content)
    with pytest.raises(EngineFaultError, match=said) as refused:
        convert(registry, "sums", "net", tolerance=tolerance)
    assert (refused.value.code, refused.value.retryable) == ("precision_lost", False)
    assert not list((tmp_path / "store").glob("*.onnx"))
    assert read_overlay(tmp_path / "store" / OVERLAY_FILE).registered == ()


def test_a_difference_in_a_quiet_channel_is_not_hidden_by_a_loud_one(opened):
    """Channel 0 in thousands, channel 1 in tenths: the loss is all in channel 1."""
    tail = [
        helper.make_node("Mul", ["c", "loud"], ["l"]),
        helper.make_node("Conv", ["l", "pick"], ["y"]),
    ]
    model = onnx.load_from_string(conv(1.0, tail=tail))
    loud = np.float32([2000, 1]).reshape(1, 2, 1, 1)
    pick = np.float32([[1, 0], [1, -2000 + 0.01]]).reshape(2, 2, 1, 1)
    model.graph.initializer.extend(
        [numpy_helper.from_array(loud, "loud"), numpy_helper.from_array(pick, "pick")]
    )
    with pytest.raises(EngineFaultError) as refused:
        convert(opened(model.SerializeToString()), "sums", "net")
    assert refused.value.code == "precision_lost"


def test_what_is_built_in_has_nothing_to_convert(opened):
    with pytest.raises(InvalidInputError) as refused:
        convert(opened(conv(0.1)), "sums", "builtin")
    assert refused.value.code == "weights_unused"
