from threading import Barrier, Thread

import pytest

from engines.errors import EngineFaultError
from engines.runners.fake import FakeRunner
from engines.runners.ort import open_onnx
from engines.sessions import Sessions


def test_a_network_is_loaded_once_and_only_the_first_load_costs(tiny_onnx):
    sessions, path = Sessions(threads=1), tiny_onnx()
    first, second = sessions.runner(path), sessions.runner(path)
    assert first.value is second.value
    assert first.cold_start_ms > 0
    assert second.cold_start_ms == 0


def test_threads_that_ask_at_once_share_one_load(tmp_path):
    opened, start = [], Barrier(4)

    def open_runner(source, *, threads):
        opened.append(source)
        return FakeRunner(lambda feeds: {}, inputs=(), outputs=())

    sessions = Sessions(threads=1, open_runner=open_runner)

    def ask():
        start.wait()
        sessions.runner(tmp_path / "net.onnx")

    workers = [Thread(target=ask) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(opened) == 1


def test_a_failed_load_is_tried_again():
    sessions, tries = Sessions(threads=1), []

    def build():
        tries.append(1)
        if len(tries) == 1:
            raise OSError("not yet")
        return "thing"

    with pytest.raises(OSError, match="not yet"):
        sessions.load("key", build)
    assert sessions.load("key", build).value == "thing"


def test_closing_frees_networks_and_the_next_call_loads_again(tiny_onnx):
    sessions, path = Sessions(threads=1), tiny_onnx()
    first = sessions.runner(path).value
    sessions.close()
    assert sessions.runner(path).value is not first


def test_lanes_are_as_many_as_threads_over_one_network_and_loaded_once(tiny_onnx):
    opened = []

    def open_runner(source, *, threads):
        opened.append(threads)
        return open_onnx(source.path, threads=threads)

    sessions, path = Sessions(threads=3, open_runner=open_runner), tiny_onnx()
    lanes = sessions.lanes(path)
    assert len({id(runner) for runner in lanes.value}) == 3
    assert opened == [3, 1]
    assert lanes.cold_start_ms > 0
    again = sessions.lanes(path)
    assert (again.value, again.cold_start_ms) == (lanes.value, 0)
    sessions.close()
    with pytest.raises(EngineFaultError, match="closed"):
        lanes.value[2].run({})


def test_a_device_that_takes_one_call_at_a_time_is_one_lane(tmp_path):
    def open_runner(source, *, threads):
        return FakeRunner(lambda feeds: {}, inputs=(), outputs=())

    sessions = Sessions(threads=4, open_runner=open_runner)
    assert sessions.lanes(tmp_path / "net.onnx").value == (
        sessions.runner(tmp_path / "net.onnx").value,
    )
