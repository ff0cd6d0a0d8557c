"""What a file consists of decides before anything executes it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.foreign import inspection
from engines.foreign.inspection import inspect
from engines.foreign.refusal import ForeignWeightsError
from tests.engines.foreign import hostile
from tests.networks import write_one_box

SECRET = Path("/etc/passwd")

BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "not_onnx"),
    "zip renamed": (hostile.zip_archive, "not_onnx"),
    "pickle renamed": (hostile.python_pickle, "not_onnx"),
    "page": (lambda: b"<html>", "not_onnx"),
    "noise": (lambda: bytes(range(256)) * 10, "not_onnx"),
    "no graph": (lambda: onnx.ModelProto(ir_version=8).SerializeToString(), "not_onnx"),
    "cut off": (lambda: hostile.plain()[:-40], "not_onnx"),
    "external data": (lambda: hostile.external_data(SECRET), "weights_external_data"),
    "external data in an attribute": (
        lambda: hostile.external_data(SECRET, where="attribute"),
        "weights_external_data",
    ),
    "external data next to it": (
        lambda: hostile.external_data(Path("weights.bin")),
        "weights_external_data",
    ),
    "operator of a stranger": (hostile.custom_operator, "weights_operator_forbidden"),
    "operator of the runtime that is not listed": (
        lambda: hostile.custom_operator("com.microsoft"),
        "weights_operator_forbidden",
    ),
    "old opset": (lambda: hostile.plain(opset=3), "weights_operator_forbidden"),
    "branches too deep": (lambda: hostile.nested_branches(3), "weights_too_complex"),
    "huge tensor declared": (
        lambda: hostile.network(
            [helper.make_node("Identity", ["images"], ["output0"])], rows=2**40
        ),
        "weights_too_complex",
    ),
    "nine dimensions": (
        lambda: hostile.network(
            [helper.make_node("Identity", ["deep"], ["output0"])],
            initializers=[hostile.constant(np.zeros((1,) * 9, np.float32), "deep")],
        ),
        "weights_too_complex",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_own_code(name: str) -> None:
    make, code = BAD[name]
    with pytest.raises(ForeignWeightsError) as refused:
        inspect(make())
    assert refused.value.code == code
    assert refused.value.detail.endswith(".")
    assert not refused.value.retryable


@pytest.mark.parametrize("depth", [1, 2])
def test_loops_and_branches_are_taken_to_a_depth(depth: int) -> None:
    inspect(hostile.nested_branches(depth))


def test_local_functions_are_refused() -> None:
    model = onnx.load_model_from_string(hostile.plain())
    model.functions.append(
        helper.make_function(
            "own",
            "F",
            ["a"],
            ["b"],
            [helper.make_node("Identity", ["a"], ["b"])],
            [helper.make_opsetid("", 17)],
        )
    )
    with pytest.raises(ForeignWeightsError, match="Local functions"):
        inspect(model.SerializeToString())


def test_too_many_nodes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "NODES_MAX", 3)
    with pytest.raises(ForeignWeightsError, match="more than 3 operators"):
        inspect(hostile.plain())


def test_what_hides_in_a_branch_is_found() -> None:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1, hostile.ROWS, 1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="x")
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, hostile.ROWS, 1])
    node = helper.make_node("Constant", [], ["b"])
    node.attribute.append(helper.make_attribute("value", tensor))
    branch = helper.make_graph([node], "b", [], [out])
    both = helper.make_node("If", ["start"], ["output0"], then_branch=branch, else_branch=branch)
    content = hostile.network([both], initializers=[hostile.constant(np.array(True), "start")])
    with pytest.raises(ForeignWeightsError) as refused:
        inspect(content)
    assert refused.value.code == "weights_external_data"


def test_real_exports_pass(tmp_path: Path, model_mirror: Path) -> None:
    inspect(write_one_box(tmp_path / "a.onnx").read_bytes())
    for path in sorted(model_mirror.rglob("*.onnx")):
        if path.stat().st_size < inspection_limit():
            inspect(path.read_bytes())


def inspection_limit() -> int:
    return 100 * 1024 * 1024
