"""A model is loaded for good before anybody asks for it."""

import numpy as np
import pytest

from engines.errors import EngineFaultError
from engines.profiles import Profile
from engines.registry import open_registry
from engines.runners.base import TensorSpec
from engines.runners.ort import open_onnx
from engines.sessions import Sessions
from engines.warming import usual_feeds, warm
from engines.weights import WeightsError
from tests.networks import write_one_box

FREE = TensorSpec("images", (None, 3, None, None), np.dtype(np.float32))
FIXED = TensorSpec("size", (1, 2), np.dtype(np.float16))
PROFILE = Profile("images", (1, 3, 8, 8), (2, 3, 16, 24), (4, 3, 32, 32), values=(0.0, 255.0))


class Counting:
    """Opens networks and remembers what was run on them."""

    def __init__(self):
        self.shapes = []

    def __call__(self, source, *, threads):
        runner = open_onnx(source.path, threads=threads)
        run = runner.run

        def counted(feeds):
            self.shapes += [array.shape for array in feeds.values()]
            return run(feeds)

        runner.run = counted
        return runner


def test_a_warm_model_was_run_once_per_network_and_never_gives_way(tmp_path):
    opener = Counting()
    sessions = Sessions(threads=2, open_runner=opener, budget_bytes=1)
    registry = open_registry(store=tmp_path / "models", sessions=sessions)
    registry.add("yolov8s", write_one_box(tmp_path / "a.onnx", ballast=100_000), licence="MIT")
    model = registry.resolve("detect", "yolov8s")
    warmed = warm(registry, "detect", model)
    assert (warmed.networks, warmed.runner) == (1, "onnxruntime")
    assert opener.shapes == [(4, 3, 640, 640)] * 2  # of all threads, and the lanes' first
    other = registry.add("yolov8m", write_one_box(tmp_path / "b.onnx", class_id=1), licence="MIT")
    sessions.lanes(registry.weights_path(other))
    assert warm(registry, "detect", model).networks == 1
    assert {network.loads for network in sessions._networks if network.is_pinned} == {1}  # once


def test_a_built_in_model_has_nothing_to_warm(tmp_path):
    registry = open_registry(store=tmp_path)
    assert warm(registry, "detect", registry.resolve("detect", "builtin")).networks == 0


def test_missing_weights_are_said_with_the_way_out(tmp_path):
    registry = open_registry(store=tmp_path)
    with pytest.raises(WeightsError, match="models add yolov8x"):
        warm(registry, "detect", registry.resolve("detect", "yolov8x"))


def test_feeds_have_the_usual_shape_the_type_and_the_values_of_the_profile():
    feeds = usual_feeds((FREE, FIXED), (PROFILE,), file="a.onnx")
    assert {name: (each.shape, each.dtype) for name, each in feeds.items()} == {
        "images": ((2, 3, 16, 24), np.float32),
        "size": ((1, 2), np.float16),
    }
    assert 200 < feeds["images"].max() <= 255


def test_a_free_length_without_a_profile_is_not_guessed():
    with pytest.raises(EngineFaultError, match="no profile says"):
        usual_feeds((FREE,), (), file="a.onnx")
