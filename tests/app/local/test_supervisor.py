import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from app.local.child import ProcessSpec
from app.local.errors import StartFailedError
from app.local.layout import Layout
from app.local.supervisor import StopRequestedError, StopSignals, Supervisor, listen_for_stop


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "home")
    layout.create()
    return layout


@pytest.fixture
def asked():
    return StopSignals()


@pytest.fixture
def supervisor(layout, asked):
    supervisor = Supervisor(layout=layout, asked=asked, changed=lambda: None)
    yield supervisor
    supervisor.stop(supervisor.names, grace_s=0)


def shell(layout, name, script):
    return ProcessSpec(
        name=name,
        argv=("/bin/sh", "-c", script),
        log=layout.log_of(name),
        cwd=layout.home,
        environment={"PATH": os.defpath},
    )


def until(supervisor, condition, timeout_s=10.0):
    supervisor.wait_until(condition, what="the test", timeout_s=timeout_s)


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_dead_process_is_started_again_and_counted(supervisor, layout):
    [child] = supervisor.start([shell(layout, "one", "exec sleep 60")])
    first = child.pid
    os.kill(first, signal.SIGKILL)
    until(supervisor, lambda: child.restarts == 1)
    assert child.pid not in (None, first)
    assert child.last_exit == "SIGKILL"
    assert [state.state for state in supervisor.states()] == ["running"]


def test_what_a_dead_process_started_dies_with_it(supervisor, layout):
    script = "sleep 60 & echo $! > orphan; wait"
    [child] = supervisor.start([shell(layout, "parent", script)])
    until(supervisor, (layout.home / "orphan").exists)
    time.sleep(0.1)
    orphan = int((layout.home / "orphan").read_text())
    os.kill(child.pid, signal.SIGKILL)
    until(supervisor, lambda: not is_alive(orphan))


def test_a_process_that_keeps_dying_stops_the_start_with_its_last_words(layout, asked):
    supervisor = Supervisor(
        layout=layout,
        asked=asked,
        changed=lambda: None,
        monotonic=lambda: time.monotonic() * 20,
        pause=lambda seconds: time.sleep(seconds / 20),
    )
    supervisor.start([shell(layout, "sick", "echo out of luck; exit 3")])
    with pytest.raises(StartFailedError, match=r"sick keeps dying \(exit code 3\)(.|\n)*luck"):
        supervisor.wait_until(lambda: False, what="it", timeout_s=30)


def test_a_condition_that_never_comes_true_is_named(supervisor):
    with pytest.raises(StartFailedError, match="The moon was not ready after 0 s"):
        supervisor.wait_until(lambda: False, what="The moon", timeout_s=0.2)


def test_a_missing_program_is_named(supervisor, layout):
    spec = ProcessSpec("none", ("/no/such/program",), layout.log_of("none"), layout.home, {})
    with pytest.raises(StartFailedError, match="none cannot be started"):
        supervisor.start([spec])


def test_a_request_to_stop_ends_a_wait(supervisor, asked):
    asked.count = 1
    with pytest.raises(StopRequestedError):
        supervisor.wait_until(lambda: False, what="it", timeout_s=5)


def test_signals_are_counted_and_handlers_given_back():
    before = signal.getsignal(signal.SIGTERM)
    with listen_for_stop() as asked:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.count == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_stop_leaves_nothing_of_a_group_that_ignores_it(supervisor, layout):
    script = "trap '' TERM; sleep 60 & echo $! > deaf; wait; wait"
    [child] = supervisor.start([shell(layout, "deaf", script)])
    until(supervisor, (layout.home / "deaf").exists)
    time.sleep(0.1)
    pids = [child.pid, int((layout.home / "deaf").read_text())]
    supervisor.stop(["deaf"], grace_s=0.3)
    assert not any(is_alive(pid) for pid in pids)
    assert [state.state for state in supervisor.states()] == ["stopped"]


def test_a_second_request_does_not_wait_for_the_grace(supervisor, layout, asked):
    supervisor.start([shell(layout, "slow", "trap '' TERM; while :; do sleep 1; done")])
    time.sleep(0.2)
    asked.count = 1
    threading.Timer(0.3, lambda: setattr(asked, "count", 2)).start()
    started = time.monotonic()
    supervisor.stop(["slow"], grace_s=30)
    assert time.monotonic() - started < 10


def test_output_goes_to_the_log_of_the_process(supervisor, layout):
    supervisor.start([shell(layout, "talker", "echo hello; echo trouble >&2; exec sleep 60")])
    until(supervisor, lambda: "trouble" in layout.log_of("talker").read_text())
    assert "hello" in layout.log_of("talker").read_text()


PARENT = """
import sys, time
from pathlib import Path
from app.local.child import Child, ProcessSpec
home = Path(sys.argv[1])
child = Child(ProcessSpec("c", ("/bin/sleep", "60"), home / "c.log", home, {}))
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""


def test_the_kernel_takes_children_along_when_the_supervisor_is_killed(layout):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(layout.home)], stdout=subprocess.PIPE, text=True
    )
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 5
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not is_alive(child)
