"""The contract of runners, over every runner."""

import numpy as np
import pytest

from engines.errors import EngineFaultError
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.runners.ort import OrtRunner, open_onnx, usable_cores

FREE_BATCH = (None, 3, 64, 64)


def open_fake(tiny_onnx):
    spec = TensorSpec("images", FREE_BATCH, np.dtype(np.float32))
    out = TensorSpec("output0", FREE_BATCH, np.dtype(np.float32))
    return FakeRunner(
        lambda feeds: {"output0": feeds["images"] + 1},
        inputs=(spec,),
        outputs=(out,),
        metadata={"names": "{0: 'a'}"},
    )


def open_ort(tiny_onnx):
    return open_onnx(tiny_onnx(metadata={"names": "{0: 'a'}"}), threads=1)


@pytest.fixture(params=[open_fake, open_ort], ids=["fake", "onnxruntime"])
def runner(request, tiny_onnx):
    with request.param(tiny_onnx) as runner:
        yield runner


def feed(n=2):
    return np.zeros((n, 3, 64, 64), dtype=np.float32)


def test_a_runner_maps_named_arrays_to_named_arrays(runner):
    outputs = runner.run({"images": feed()})
    assert list(outputs) == ["output0"]
    assert np.array_equal(outputs["output0"], feed() + 1)
    assert runner.elapsed_ms > 0


def test_a_runner_describes_itself(runner):
    assert runner.inputs[0].shape == FREE_BATCH
    assert runner.outputs[0].name == "output0"
    assert runner.metadata["names"] == "{0: 'a'}"
    assert runner.precision == "fp32"
    assert runner.provider


@pytest.mark.parametrize(
    ("feeds", "names"),
    [
        ({}, "images"),
        ({"pictures": feed()}, "pictures"),
        ({"images": feed(), "more": feed()}, "more"),
        ({"images": feed().astype(np.float64)}, "float64"),
        ({"images": feed()[:, :, :32]}, "32"),
        ({"images": feed()[0]}, "shape"),
    ],
)
def test_wrong_feeds_are_named(runner, feeds, names):
    with pytest.raises(EngineFaultError, match=names):
        runner.run(feeds)


def test_a_closed_runner_says_so_and_may_be_closed_again(runner):
    runner.close()
    runner.close()
    with pytest.raises(EngineFaultError, match="closed"):
        runner.run({"images": feed()})


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x08\x08"])
def test_bytes_that_are_no_network_are_refused(content):
    with pytest.raises(EngineFaultError) as refused:
        OrtRunner(content, threads=1)
    assert refused.value.code == "weights_unreadable"


def test_a_network_that_points_at_another_file_is_refused(tmp_path, tiny_onnx):
    import onnx

    model = onnx.load(tiny_onnx())
    model.graph.initializer[0].raw_data = b""
    onnx.external_data_helper.set_external_data(
        model.graph.initializer[0], "secret", offset=0, length=4
    )
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "secret").write_bytes(bytes(4))
    (tmp_path / "evil.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(EngineFaultError):
        open_onnx(tmp_path / "evil.onnx", threads=1)


def test_usable_cores_are_at_least_one():
    assert usable_cores() >= 1
