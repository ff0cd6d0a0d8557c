"""Networks within a budget: the least used gives way, comes back, and memory returns."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.errors import EngineFaultError
from engines.memory import give_back_freed, resident_bytes
from engines.runners.base import TensorSpec
from engines.runners.fake import FakeRunner
from engines.sessions import Sessions

MIB = 2**20
SPEC = TensorSpec("x", (None,), np.dtype(np.float32))


class Shelf:
    """Files of a given size and what opens them: each adds its number."""

    def __init__(self, folder):
        self.folder = folder
        self.opened: list[str] = []
        self.open_now: set[str] = set()
        self.inside = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def file(self, number: int, size: int = MIB):
        path = self.folder / f"net{number}.onnx"
        path.write_bytes(bytes(size))
        return path

    def open(self, source, *, threads):
        name, number = source.path.name, int(source.path.stem[3:])
        shelf = self

        class Counted(FakeRunner):
            def _release(self):
                shelf.open_now.discard(name)

        def compute(feeds):
            shelf.inside.set()
            assert shelf.go_on.wait(10)
            return {"y": feeds["x"] + number}

        self.opened.append(name)
        self.open_now.add(name)
        return Counted(compute, inputs=(SPEC,), outputs=(SPEC,))


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path)


def sessions_of(shelf, budget_mib):
    return Sessions(threads=1, open_runner=shelf.open, budget_bytes=int(budget_mib * MIB))


X = {"x": np.zeros(3, np.float32)}


def test_the_least_recently_used_gives_way_and_comes_back_by_itself(shelf):
    sessions = sessions_of(shelf, 64)
    sessions.budget_bytes = 0  # growth of this process is measured: leave room for one only
    runners = [sessions.runner(shelf.file(number)).value for number in (1, 2)]
    assert shelf.open_now == {"net2.onnx"}
    assert runners[0].run(X)["y"][0] == 1
    assert shelf.open_now == {"net1.onnx"}
    assert runners[1].run(X)["y"][0] == 2
    assert shelf.opened == ["net1.onnx", "net2.onnx", "net1.onnx", "net2.onnx"]


def test_within_the_budget_nothing_gives_way(shelf):
    sessions = sessions_of(shelf, 4096)
    runners = [sessions.runner(shelf.file(number)).value for number in range(1, 6)]
    for _ in range(3):
        assert [int(runner.run(X)["y"][0]) for runner in runners] == [1, 2, 3, 4, 5]
    assert len(shelf.opened) == 5
    assert sessions.used_bytes >= 5 * MIB


def test_a_pinned_network_stays(shelf):
    sessions = sessions_of(shelf, 4096)
    sessions.runner(shelf.file(1), pin=True)
    sessions.budget_bytes = 0
    for number in (2, 3):
        sessions.runner(shelf.file(number)).value.run(X)
    assert shelf.open_now == {"net1.onnx", "net3.onnx"}


def test_a_network_that_runs_is_not_freed_under_the_run(shelf):
    sessions = sessions_of(shelf, 4096)
    slow = sessions.runner(shelf.file(1)).value
    shelf.go_on.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(slow.run, X)
        assert shelf.inside.wait(10)
        sessions.budget_bytes = 0
        sessions.runner(shelf.file(2))
        assert "net1.onnx" in shelf.open_now
        shelf.go_on.set()
        assert running.result()["y"][0] == 1
    sessions.runner(shelf.file(2)).value.run(X)
    assert "net1.onnx" not in shelf.open_now


def test_many_threads_with_too_little_room_get_right_answers(shelf):
    sessions = sessions_of(shelf, 4096)
    sessions.budget_bytes = 0
    runners = [sessions.runner(shelf.file(number)).value for number in range(1, 5)]

    def ask(place):
        return int(runners[place % 4].run(X)["y"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(200))) == [1 + place % 4 for place in range(200)]


def test_a_load_that_takes_long_holds_up_nobody_else(shelf):
    sessions = sessions_of(shelf, 4096)
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        assert go_on.wait(10)
        return "slow"

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(sessions.load, "slow", slow)
        assert begun.wait(10)
        assert sessions.runner(shelf.file(1)).value.run(X)["y"][0] == 1
        go_on.set()
        assert waiting.result().value == "slow"


def test_a_reload_is_a_cold_start_of_the_next_job(shelf):
    sessions = sessions_of(shelf, 4096)
    path = shelf.file(1)
    assert sessions.runner(path).cold_start_ms > 0
    assert sessions.runner(path).cold_start_ms == 0
    sessions.budget_bytes = 0
    sessions.runner(shelf.file(2))
    assert sessions.runner(path).cold_start_ms > 0


def test_a_network_of_closed_sessions_does_not_come_back(shelf):
    sessions = sessions_of(shelf, 4096)
    runner = sessions.runner(shelf.file(1)).value
    sessions.close()
    with pytest.raises(EngineFaultError, match="closed"):
        runner.run(X)
    assert shelf.open_now == set()


def heavy_network(path, megabytes):
    """A real network whose weights take this much."""
    side = int((megabytes * MIB / 4) ** 0.5)
    weights = np.random.default_rng(3).normal(size=(side, side)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "heavy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("n", side))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("n", side))],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path, {"x": np.ones((1, side), np.float32)}


def test_giving_way_returns_the_memory_of_a_real_network(tmp_path):
    first, feed = heavy_network(tmp_path / "first.onnx", 96)
    second, _ = heavy_network(tmp_path / "second.onnx", 96)
    # ONNX Runtime keeps the weights of a product twice: as they were and as it packed them.
    sessions = Sessions(threads=1, budget_bytes=300 * MIB)
    give_back_freed()
    before = resident_bytes()
    held = []
    for path in (first, second, first, second):
        sessions.runner(path).value.run(feed)
        held.append(resident_bytes() - before)
    # One of them and what loading leaves behind, never both.
    assert max(held) < 300 * MIB
    assert 90 * MIB < sessions.used_bytes < 300 * MIB
    sessions.close()
    assert resident_bytes() - before < 32 * MIB


def test_forgetting_a_file_frees_its_networks_and_no_others(shelf):
    sessions = sessions_of(shelf, 4096)
    paths = [shelf.file(number) for number in (1, 2)]
    for path in paths:
        sessions.runner(path)
    assert sessions.forget(paths[0])
    assert not sessions.forget(paths[0])
    assert shelf.open_now == {"net2.onnx"}
    assert sessions.runner(paths[0]).cold_start_ms > 0
