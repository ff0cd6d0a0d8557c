"""Weights files that somebody might send, each wrong in one way."""

import pickle
import zipfile
from io import BytesIO
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

ROWS = 84


def network(
    nodes: list[onnx.NodeProto],
    *,
    initializers: list[onnx.TensorProto] | None = None,
    inputs: str = "images",
    rows: int = ROWS,
    metadata: dict[str, str] | None = None,
    domains: tuple[str, ...] = (),
    opset: int = 17,
    output: str = "output0",
) -> bytes:
    """A file whose nodes turn ``images`` [n, 3, h, w] into ``output0`` [n, rows, 1]."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(inputs, TensorProto.FLOAT, ("n", 3, "h", "w"))],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ("n", rows, 1))],
        initializers or [],
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    helper.set_model_props(model, metadata or {})
    return model.SerializeToString()


def constant(value: np.ndarray, name: str) -> onnx.TensorProto:
    return numpy_helper.from_array(value, name)


def rows_of(value: float = 0.0, *, rows: int = ROWS) -> onnx.TensorProto:
    return constant(np.full((1, rows, 1), value, np.float32), "rows")


def plain(rows: int = ROWS, value: float = 0.0, **facts: object) -> bytes:
    """``rows`` plus nothing of the input: a network that can run."""
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axes"], ["column"]),
        helper.make_node("Mul", ["column", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["output0"]),
    ]
    constants = [
        rows_of(value, rows=rows),
        constant(np.array([1, 2], np.int64), "axes"),
        constant(np.zeros(1, np.float32), "zero"),
    ]
    return network(nodes, initializers=constants, rows=rows, **facts)  # type: ignore[arg-type]


def external_data(secret: Path, *, where: str = "initializer") -> bytes:
    """Weights that lie in a file of this machine."""
    tensor = TensorProto(name="rows", data_type=TensorProto.FLOAT, dims=[1, ROWS, 1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=str(secret))
    if where == "attribute":
        node = helper.make_node("Constant", [], ["output0"])
        node.attribute.append(helper.make_attribute("value", tensor))
        return network([node])
    return network([helper.make_node("Identity", ["rows"], ["output0"])], initializers=[tensor])


def custom_operator(domain: str = "evil.example") -> bytes:
    node = helper.make_node("Shell", ["images"], ["output0"], domain=domain)
    return network([node], domains=(domain,))


def endless_loop() -> bytes:
    """A loop whose condition stays true, over the largest trip count there is."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Add", ["carried", "carried"], ["carried_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried", TensorProto.FLOAT, [1, ROWS, 1]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("carried_on", TensorProto.FLOAT, [1, ROWS, 1]),
        ],
    )
    constants = [
        rows_of(),
        constant(np.array(2**62, np.int64), "turns"),
        constant(np.array(True), "start"),
    ]
    node = helper.make_node("Loop", ["turns", "start", "rows"], ["output0"], body=body)
    return network([node], initializers=constants)


def nested_branches(depth: int) -> bytes:
    """Branches inside branches."""

    def branch(level: int, name: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(f"{name}{level}", TensorProto.FLOAT, [1, ROWS, 1])
        if level == 0:
            node = helper.make_node("Constant", [], [f"{name}0"], value=rows_of())
        else:
            node = helper.make_node(
                "If",
                ["start"],
                [f"{name}{level}"],
                then_branch=branch(level - 1, f"{name}t"),
                else_branch=branch(level - 1, f"{name}e"),
            )
        return helper.make_graph([node], name, [], [out])

    node = helper.make_node(
        "If",
        ["start"],
        ["output0"],
        then_branch=branch(depth - 1, "t"),
        else_branch=branch(depth - 1, "e"),
    )
    return network([node], initializers=[constant(np.array(True), "start")])


def six_gigabytes() -> bytes:
    """A few bytes that ask for 6.4 GB: the shape is computed, so nothing declares it."""
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Gather", ["shape", "first"], ["n"]),
        helper.make_node("Mul", ["n", "many"], ["huge"]),
        helper.make_node("ConstantOfShape", ["huge"], ["filled"]),
        helper.make_node("ReduceMax", ["filled"], ["most"], keepdims=0),
        helper.make_node("Add", ["rows", "most"], ["output0"]),
    ]
    constants = [
        rows_of(),
        constant(np.array([0], np.int64), "first"),
        constant(np.array([1_600_000_000], np.int64), "many"),
    ]
    return network(nodes, initializers=constants)


def wrong_input_name() -> bytes:
    """Two inputs: no detector is fed so."""
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["output0"])],
        "g",
        [
            helper.make_tensor_value_info("left", TensorProto.FLOAT, (1, ROWS, 1)),
            helper.make_tensor_value_info("right", TensorProto.FLOAT, (1, ROWS, 1)),
        ],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, (1, ROWS, 1))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def zip_archive() -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02.")
    return stream.getvalue()


def python_pickle() -> bytes:
    return pickle.dumps({"model": [1.0] * 100})
