"""The RTX flavour of TensorRT, which builds without a GPU; tests are skipped without its wheels."""

import hashlib

import numpy as np
import pytest

from engines.plans.cache import PlanCache
from engines.plans.making import Wanted
from engines.profiles import Profile, choose_profiles
from engines.runners.flavours import FlavourName, load_flavour
from engines.runners.ort import onnx_facts


@pytest.fixture(scope="session")
def rtx():
    pytest.importorskip("tensorrt_rtx_bindings", reason="the extra plans is not installed")
    return load_flavour(FlavourName.TENSORRT_RTX)


@pytest.fixture
def cache(tmp_path):
    return PlanCache(tmp_path / "plans")


@pytest.fixture(scope="session")
def small_network() -> bytes:
    """A convolution and a sigmoid, free in batch, height and width."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float32)
    free = ("n", 3, "h", "w")
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "w"], ["made"], pads=[1, 1, 1, 1]),
            helper.make_node("Sigmoid", ["made"], ["output0"]),
        ],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, free)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ("n", 4, "h", "w"))],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"names": "{0: 'a'}"})
    return model.SerializeToString()


@pytest.fixture
def wanted():
    """What a plan is made of, from bytes and profiles."""

    def make(model: bytes, *profiles: Profile, file: str = "net.onnx", **options) -> Wanted:
        facts = onnx_facts(model)
        declared = {spec.name: spec.shape for spec in facts.inputs}
        chosen = choose_profiles(declared, profiles, file=file)
        return Wanted(model, facts, hashlib.sha256(model).hexdigest(), chosen, **options)

    return make
