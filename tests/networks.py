"""Networks of a few nodes, made where a test needs one: no weights are ever committed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

CLASSES = 80


def write_one_box(
    path: Path,
    *,
    box: Sequence[float] = (320, 320, 100, 50),
    class_id: int = 0,
    score: float = 0.9,
    ballast: int = 0,
) -> Path:
    """A detector of YOLOv8's form that finds the same box in every picture.

    ``images`` [n, 3, height, width] in, ``output0`` [n, 84, 1] out: ``box`` is its centre, width
    and height in pixels of the canvas. ``ballast`` numbers make the file larger.
    """
    rows = np.zeros((1, 4 + CLASSES, 1), dtype=np.float32)
    rows[0, :4, 0] = box
    rows[0, 4 + class_id, 0] = score
    constants = {
        "nothing": np.zeros(1, dtype=np.float32),
        "rows": rows,
        "last": np.array([2], dtype=np.int64),
        "ballast": np.ones(ballast + 1, dtype=np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),  # [n, 3]
        helper.make_node("ReduceMean", ["means"], ["mean"], axes=[1], keepdims=1),  # [n, 1]
        helper.make_node("Unsqueeze", ["mean", "last"], ["column"]),  # [n, 1, 1]
        helper.make_node("ReduceMax", ["ballast"], ["one"], keepdims=0),
        helper.make_node("Mul", ["column", "nothing"], ["zero"]),
        helper.make_node("Mul", ["rows", "one"], ["weighted"]),
        helper.make_node("Add", ["zero", "weighted"], ["output0"]),  # [n, 84, 1]
    ]
    graph = helper.make_graph(
        nodes,
        "one box",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("n", 3, "h", "w"))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ("n", 4 + CLASSES, 1))],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def write_colours(
    path: Path, *, batch: int | str = "n", size: tuple[int | str, int | str] = ("h", "w")
) -> Path:
    """A network of DDColor's form: ``input`` [n, 3, h, w] 0..1 in, ``output`` [n, 2, h, w] out.

    Colours follow blurred light: no picture is grey, and neighbours differ.
    """
    weights = np.random.default_rng(7).normal(0, 3.0, (2, 3, 5, 5)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input", "weights", "bias"], ["output"], pads=[2, 2, 2, 2])],
        "colours",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, (batch, 3, *size))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, (batch, 2, *size))],
        [
            onnx.numpy_helper.from_array(weights, "weights"),
            onnx.numpy_helper.from_array(np.array([6.0, 14.0], np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
