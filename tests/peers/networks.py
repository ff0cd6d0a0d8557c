"""Tiny networks with the inputs, outputs and metadata of YOLO exports, the same bytes every time.

A grid of patches of the picture, a seeded 1 x 1 convolution over each, boxes around the patches.
They recognise nothing; but they answer a real picture with some hundred different boxes.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIDE = 160
STRIDE, MASK_STRIDE = 16, 4
CELLS = SIDE // STRIDE
CLASSES, COEFFICIENTS, POINTS = 3, 8, 17
OPSET = 17


def tiny_yolo(path: Path, *, task: str = "detect", decided: bool = False, seed: int = 1) -> Path:
    """Write one; ``decided``: rows of chosen boxes, as exports without suppression give."""
    rng = np.random.default_rng(seed)
    extras = {"detect": 0, "segment": COEFFICIENTS, "pose": 3 * POINTS}[task]
    rows = 4 + CLASSES + extras
    weights = rng.normal(0, 1, (rows, 3, STRIDE, STRIDE)) * 3 / STRIDE
    weights[4 : 4 + CLASSES] *= 2
    bias = rng.normal(0, 0.5, rows)
    constants = {
        "weights": weights,
        "bias": bias,
        "half": np.full((1, 1, 1, 1), 0.5),
        "grid": _grid(),
        "reach": np.array([30.0, 30.0, 70.0, 70.0]).reshape(1, 4, 1),
        "away": np.array([-15.0, -15.0, 10.0, 10.0]).reshape(1, 4, 1),
        "point_reach": np.full((1, 1, 1, 1), 60.0),
        "point_away": np.full((1, 1, 1, 1), -30.0),
        "prototype_weights": rng.normal(0, 1, (COEFFICIENTS, 3, MASK_STRIDE, MASK_STRIDE)),
    }
    node = helper.make_node
    nodes = [
        node("Sub", ["images", "half"], ["centred"]),
        node("Conv", ["centred", "weights", "bias"], ["cells"], strides=[STRIDE, STRIDE]),
        node("Reshape", ["cells", "flat"], ["rows"]),
        node("Split", ["rows", "parts"], ["boxes", "chances", "rest"][: 2 + bool(extras)], axis=1),
        node("Sigmoid", ["boxes"], ["inside"]),
        node("Mul", ["inside", "reach"], ["scaled"]),
        node("Add", ["scaled", "away"], ["placed"]),
        node("Add", ["placed", "grid"], ["where"]),
        node("Sigmoid", ["chances"], ["scores"]),
    ]
    shapes = {
        "flat": np.array([1, rows, CELLS * CELLS]),
        "parts": np.array([4, CLASSES, extras][: 2 + bool(extras)]),
    }
    behind = []
    if task == "segment":
        nodes.append(
            node(
                "Conv",
                ["centred", "prototype_weights"],
                ["output1"],
                strides=[MASK_STRIDE, MASK_STRIDE],
            )
        )
        behind = ["rest"]
    if task == "pose":
        nodes += _keypoints()
        shapes["points"] = np.array([1, POINTS, 3, CELLS * CELLS])
        shapes["point_rows"] = np.array([1, 3 * POINTS, CELLS * CELLS])
        shapes["point_parts"] = np.array([2, 1])
        constants["point_grid"] = _grid()[:, None, :2]
        behind = ["keypoints"]
    if decided:
        nodes += _chosen(behind)
        shapes |= {"one": np.array([1]), "two": np.array([2]), "four": np.array([4])}
        shapes |= {"first": np.array([0]), "most": np.array([50]), "squeezed": np.array([0, 1])}
        constants["halves"] = np.full((1, 1, 1), 0.5)
        output = ["output0", [1, 50, 6 + extras]]
    else:
        nodes.append(node("Concat", ["where", "scores", *behind], ["output0"], axis=1))
        output = ["output0", [1, rows, CELLS * CELLS]]
    used = {name for each in nodes for name in each.input}
    tensors = [
        numpy_helper.from_array(value.astype(np.float32), name)
        for name, value in constants.items()
        if name in used
    ]
    tensors += [
        numpy_helper.from_array(value.astype(np.int64), name)
        for name, value in shapes.items()
        if name in used
    ]
    outputs = [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])]
    if task == "segment":
        mask = [1, COEFFICIENTS, SIDE // MASK_STRIDE, SIDE // MASK_STRIDE]
        outputs.append(helper.make_tensor_value_info("output1", TensorProto.FLOAT, mask))
    pictures = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    graph = helper.make_graph(nodes, "tiny", [pictures], outputs, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    helper.set_model_props(model, _metadata(task, decided=decided))
    onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _grid() -> np.ndarray:
    """Centre of every cell as cx cy, and nothing added to width and height."""
    rows, columns = np.mgrid[:CELLS, :CELLS]
    centres = (np.stack([columns.ravel(), rows.ravel()]) + 0.5) * STRIDE
    return np.concatenate([centres, np.zeros_like(centres)])[None]


def _keypoints() -> list[onnx.NodeProto]:
    node = helper.make_node
    return [
        node("Reshape", ["rest", "points"], ["triples"]),
        node("Sigmoid", ["triples"], ["shares"]),
        node("Split", ["shares", "point_parts"], ["pairs", "seen"], axis=2),
        node("Mul", ["pairs", "point_reach"], ["spread"]),
        node("Add", ["spread", "point_away"], ["around"]),
        node("Add", ["around", "point_grid"], ["located"]),
        node("Concat", ["located", "seen"], ["joined"], axis=2),
        node("Reshape", ["joined", "point_rows"], ["keypoints"]),
    ]


def _chosen(behind: list[str]) -> list[onnx.NodeProto]:
    """Anchors as rows x1 y1 x2 y2 score class ..., the fifty best, sorted."""
    node = helper.make_node
    wide = [node("Transpose", [name], [f"{name}_t"], perm=[0, 2, 1]) for name in behind]
    return [
        node("Slice", ["where", "first", "two", "one"], ["centres"]),
        node("Slice", ["where", "two", "four", "one"], ["sizes"]),
        node("Mul", ["sizes", "halves"], ["half_sizes"]),
        node("Sub", ["centres", "half_sizes"], ["low"]),
        node("Add", ["centres", "half_sizes"], ["high"]),
        node("ReduceMax", ["scores"], ["best"], axes=[1], keepdims=1),
        node("ArgMax", ["scores"], ["which"], axis=1, keepdims=1),
        node("Cast", ["which"], ["class"], to=TensorProto.FLOAT),
        node("Concat", ["low", "high", "best", "class"], ["decided"], axis=1),
        node("Transpose", ["decided"], ["decided_t"], perm=[0, 2, 1]),
        *wide,
        node("Concat", ["decided_t", *(f"{name}_t" for name in behind)], ["all"], axis=2),
        node("Squeeze", ["best", "squeezed"], ["chances_of_all"]),
        node("TopK", ["chances_of_all", "most"], ["top", "places"]),
        node("Gather", ["all", "places"], ["output0"], axis=1),
    ]


def _metadata(task: str, *, decided: bool) -> dict[str, str]:
    told = {
        "stride": "32",
        "task": task,
        "batch": "1",
        "imgsz": f"[{SIDE}, {SIDE}]",
        "names": str(dict(enumerate(("red", "green", "blue")))),
        "end2end": str(decided),
        "channels": "3",
    }
    return {**told, "kpt_shape": f"[{POINTS}, 3]"} if task == "pose" else told
