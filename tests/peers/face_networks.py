"""Face networks of a few nodes with the inputs and outputs of real ones, the same bytes every time.

They recognise nothing; but they answer a real picture with some hundred different boxes, crops or
masks, which is what two implementations around one network can be compared by.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# outputs: strides, anchors at each cell, points
HEADS = {
    6: ((8, 16, 32), 2, False),
    9: ((8, 16, 32), 2, True),
    10: ((8, 16, 32, 64, 128), 1, False),
    15: ((8, 16, 32, 64, 128), 1, True),
}
Shape = Sequence[int | str]


def scrfd(
    path: Path,
    *,
    outputs: int = 9,
    size: tuple[int, int] | None = None,
    batched: bool = False,
    seed: int = 3,
) -> Path:
    """A detector of SCRFD's form; ``size`` (width, height): it takes no other."""
    strides, anchors, has_points = HEADS[outputs]
    rng = np.random.default_rng(seed)
    nodes, tensors = [], {}
    names: dict[str, list[str]] = {"score": [], "box": [], "points": []}
    kinds = {"score": 1, "box": 4} | ({"points": 10} if has_points else {})
    for stride in strides:
        for kind, numbers in kinds.items():
            name = f"{kind}_{stride}"
            # patches of the picture's middle frequencies; scores come out rare, boxes wide
            weights = rng.normal(0, 1, (anchors * numbers, 3, 8, 8)) / 14
            bias = rng.normal(0, 0.3, anchors * numbers) - (1.2 if kind == "score" else 0)
            tensors[f"{name}_w"] = weights.astype(np.float32)
            tensors[f"{name}_b"] = bias.astype(np.float32)
            step = stride // 8
            pooled = "input" if step == 1 else f"pooled_{stride}"
            if step > 1 and kind == "score":
                nodes.append(
                    helper.make_node(
                        "AveragePool",
                        ["input"],
                        [pooled],
                        kernel_shape=[step, step],
                        strides=[step, step],
                    )
                )
            nodes += _rows(name, pooled, numbers, batched=batched, kind=kind)
            names[kind].append(f"{name}_out")
    tensors["flat1"], tensors["flat4"], tensors["flat10"] = (
        np.array([0, -1, each] if batched else [-1, each]) for each in (1, 4, 10)
    )
    tensors["three"] = np.array([3.0], np.float32)
    tensors["half"] = np.array([0.5], np.float32)
    ordered = names["score"] + names["box"] + names["points"]
    used = {name for node in nodes for name in node.input}
    width, height = size or ("width", "height")
    given = {"input": ["batch" if batched else 1, 3, height, width]}
    made = {
        name: (["batch"] if batched else []) + [f"n{name.split('_')[1]}", kinds[name.split("_")[0]]]
        for name in ordered
    }
    kept = {name: value for name, value in tensors.items() if name in used}
    return _save(path, nodes, given, made, kept)


def _rows(
    name: str, pooled: str, numbers: int, *, batched: bool, kind: str
) -> list[onnx.NodeProto]:
    node = helper.make_node
    steps = [
        node("Conv", [pooled, f"{name}_w", f"{name}_b"], [f"{name}_c"], strides=[8, 8]),
        node("Transpose", [f"{name}_c"], [f"{name}_t"], perm=[0, 2, 3, 1]),
        node("Reshape", [f"{name}_t", f"flat{numbers}"], [f"{name}_r"]),
        node("Sigmoid", [f"{name}_r"], [f"{name}_out" if kind == "score" else f"{name}_s"]),
    ]
    if kind == "box":  # up to three strides to each side
        steps.append(node("Mul", [f"{name}_s", "three"], [f"{name}_out"]))
    if kind == "points":  # on both sides of the anchor
        steps += [
            node("Sub", [f"{name}_s", "half"], [f"{name}_h"]),
            node("Mul", [f"{name}_h", "three"], [f"{name}_out"]),
        ]
    return steps


def converter(path: Path, *, seed: int = 5) -> Path:
    """crossface_ghost: embeddings [n, 512] to latents [n, 512]."""
    weights = np.random.default_rng(seed).normal(0, 1 / 22, (512, 512)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["input", "weights"], ["output"])]
    shape = {"input": ["n", 512]}, {"output": ["n", 512]}
    return _save(path, nodes, *shape, {"weights": weights})


def swapper(path: Path, *, size: int = 256, batch: int | str = 1, factor: float = 1.0) -> Path:
    """A swapper that mixes the crop with a colour of the latent; ``factor`` may be NaN."""
    node = helper.make_node
    nodes = [
        node("Slice", ["source", "first", "third", "axis"], ["three"]),
        node("Tanh", ["three"], ["colour"]),
        node("Reshape", ["colour", "planes"], ["plane"]),
        node("Add", ["target", "plane"], ["sum"]),
        node("Mul", ["sum", "factor"], ["output"]),
    ]
    tensors = {
        "first": np.array([0]),
        "third": np.array([3]),
        "axis": np.array([1]),
        "planes": np.array([-1, 3, 1, 1]),
        "factor": np.array([0.5 * factor], np.float32),
    }
    crops = [batch, 3, size, size]
    return _save(path, nodes, {"target": crops, "source": [batch, 512]}, {"output": crops}, tensors)


def landmarks(path: Path) -> Path:
    """2dfan4: a picture [1, 3, 256, 256] to points [1, 68, 3] on a grid of 64, and heatmaps.

    It points at where the picture is bright: its mean moves every point.
    """
    node = helper.make_node
    angles = np.linspace(0, 2 * np.pi, 68, endpoint=False)
    base = np.stack([32 + 20 * np.cos(angles), 32 + 20 * np.sin(angles), np.ones(68)], axis=1)
    nodes = [
        node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=1),
        node("Reshape", ["mean", "three"], ["shift"]),
        node("Add", ["base", "shift"], ["points"]),
        node("AveragePool", ["input"], ["small"], kernel_shape=[4, 4], strides=[4, 4]),
        node("ReduceMean", ["small"], ["grey"], axes=[1], keepdims=1),
        node("Expand", ["grey", "many"], ["heatmaps"]),
    ]
    tensors = {
        "three": np.array([1, 1, 1]),
        "base": base[None].astype(np.float32),
        "many": np.array([1, 68, 64, 64]),
    }
    given = {"input": [1, 3, 256, 256]}
    return _save(path, nodes, given, {"points": [1, 68, 3], "heatmaps": [1, 68, 64, 64]}, tensors)


def _save(
    path: Path,
    nodes: list[onnx.NodeProto],
    given: Mapping[str, Shape],
    made: Mapping[str, Shape],
    tensors: Mapping[str, np.ndarray],
) -> Path:
    def infos(shapes: Mapping[str, Shape]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ]

    initializers = [numpy_helper.from_array(value, name) for name, value in tensors.items()]
    graph = helper.make_graph(nodes, "face", infos(given), infos(made), initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path
