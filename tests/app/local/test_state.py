import os
import signal
import subprocess
import sys
import time

import pytest

from app.local.errors import AlreadyRunningError, NotRunningError
from app.local.layout import Layout
from app.local.state import (
    PidFile,
    PlatformState,
    ProcessState,
    clean_stale,
    read_state,
    running_pid,
    write_state,
)

HOLD = """
import sys, time
from pathlib import Path
from app.local.layout import Layout
from app.local.state import PidFile
PidFile.acquire(Layout(Path(sys.argv[1])))
print("held", flush=True)
time.sleep(60)
"""


ASK = """
import sys
from pathlib import Path
from app.local.layout import Layout
from app.local.state import running_pid
print("asking", flush=True)
while True:
    running_pid(Layout(Path(sys.argv[1])))
"""


@pytest.fixture
def layout(tmp_path):
    layout = Layout(tmp_path / "home")
    layout.create()
    return layout


@pytest.fixture
def holder(layout):
    """Another process that holds the home."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(layout.home)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def some_state(pid: int) -> PlatformState:
    return PlatformState(
        pid=pid,
        phase="ready",
        started_at="2026-01-01T00:00:00+00:00",
        base_url="http://127.0.0.1:8000",
        database_url="postgresql://user:secret@/x",
        redis_url="unix:///x",
        storage_url="file:///x",
        comfyui_url="http://127.0.0.1:8188",
        processes=[ProcessState("api", "running", 1, None, 0, None)],
    )


def test_a_second_supervisor_is_told_who_runs_and_where(layout, holder):
    write_state(layout, some_state(holder.pid))
    with pytest.raises(AlreadyRunningError) as caught:
        PidFile.acquire(layout)
    assert caught.value.pid == holder.pid
    assert "http://127.0.0.1:8000" in str(caught.value)
    assert "pixelmeter down" in str(caught.value)


def test_the_lock_goes_with_the_process_however_it_ends(layout, holder):
    assert running_pid(layout) == holder.pid
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert running_pid(layout) is None
    taken = PidFile.acquire(layout)
    assert taken.stale_pid == holder.pid
    taken.release()
    assert not layout.pid_file.exists()


def test_a_fresh_home_has_nothing_stale(layout):
    taken = PidFile.acquire(layout)
    assert taken.stale_pid is None
    assert layout.pid_file.read_text() == f"{os.getpid()}\n"
    taken.release()


def test_the_traces_of_a_killed_supervisor_are_removed(layout):
    layout.pid_file.write_text("4711\n")
    write_state(layout, some_state(4711))
    assert clean_stale(layout) == 4711
    assert clean_stale(layout) is None
    assert not layout.state_file.exists()


def test_a_pid_file_without_a_lock_is_not_a_running_platform(layout):
    layout.pid_file.write_text(f"{os.getpid()}\n")
    write_state(layout, some_state(os.getpid()))
    with pytest.raises(NotRunningError, match="pixelmeter up"):
        read_state(layout)


def test_a_state_is_read_as_it_was_written_and_is_private(layout, holder):
    write_state(layout, some_state(holder.pid))
    assert read_state(layout) == some_state(holder.pid)
    assert layout.state_file.stat().st_mode & 0o077 == 0


def test_asking_does_not_keep_a_supervisor_from_starting(layout, holder):
    asker = subprocess.Popen(
        [
            sys.executable,
            "-c",
            ASK,
            str(layout.home),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    asker.stdout.readline()
    holder.kill()
    holder.wait()
    try:
        for _ in range(20):
            PidFile.acquire(layout).release()
            time.sleep(0.005)
    finally:
        asker.kill()
        asker.communicate()
