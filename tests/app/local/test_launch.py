import subprocess
import sys

import pytest

from app.local.errors import LocalError
from app.local.launch import forget_stale, start_detached, stop_running
from app.local.layout import Layout
from app.local.ports import free_port
from app.settings import environment


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "home")


def test_a_start_that_fails_tells_the_reason_of_the_one_in_the_background(layout):
    ours = {**environment(), "PIXELMETER_HOME": str(layout.home), "STORAGE_URL": "ftp://bucket"}
    with pytest.raises(LocalError, match="STORAGE_URL 'ftp://bucket' cannot be used"):
        start_detached(layout, ["--port", str(free_port())], environment=ours)
    assert not layout.pid_file.exists()


def test_stopping_nothing_is_nothing(layout):
    assert stop_running(layout) is None
    assert forget_stale(layout) is None


def test_stopping_waits_until_the_process_is_gone(layout):
    layout.create()
    code = (
        "import sys, time, signal\nfrom pathlib import Path\n"
        "from app.local.layout import Layout\nfrom app.local.state import PidFile\n"
        "held = PidFile.acquire(Layout(Path(sys.argv[1])))\n"
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), sys.exit()))\n"
        "print('held', flush=True)\ntime.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(layout.home)], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    assert stop_running(layout) == process.pid
    process.communicate()
    assert forget_stale(layout) == process.pid
