"""Start and stop a supervisor in the background, and wait until it has done so."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

import psutil

from app.local.errors import LocalError, StartFailedError
from app.local.layout import CODE_ROOT, Layout
from app.local.state import PlatformState, clean_stale, running_pid

STOP_TIMEOUT_S = 90.0


def start_detached(
    layout: Layout, arguments: Sequence[str], *, environment: Mapping[str, str]
) -> PlatformState:
    """Run ``pixelmeter up`` with these arguments in a session of its own; wait until it is ready.

    ``environment`` has absolute folders only (``own_environment``). The new process says over a
    pipe how it went; its later words go to ``logs/supervisor.log``.

    Raises:
        LocalError: it could not start; the message is the one it gave.
    """
    layout.create()
    reading, writing = os.pipe()
    log = layout.log_of("supervisor")
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - the list is ours
            [sys.executable, "-m", "app.cli.main", "up", *arguments, "--report-to", str(writing)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=CODE_ROOT,
            env=dict(environment),
            pass_fds=(writing,),
            start_new_session=True,
        )
    os.close(writing)
    try:
        with os.fdopen(reading) as pipe:
            report = pipe.readline()
    except BaseException:
        process.send_signal(signal.SIGTERM)  # interrupted while waiting: take it back
        raise
    if not report:
        message = f"The supervisor ended without a word; see {log}"
        raise StartFailedError(message)
    document = json.loads(report)
    if "error" in document:
        process.wait()
        raise LocalError(document["error"])
    return PlatformState.from_json(document["state"])


def stop_running(layout: Layout) -> int | None:
    """Ask the supervisor of this home to stop and wait until it is gone; None: nothing ran.

    Raises:
        LocalError: it did not stop in time.
    """
    pid = running_pid(layout)
    if pid is None:
        return None
    try:
        supervisor = psutil.Process(pid)
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(STOP_TIMEOUT_S)
    except psutil.NoSuchProcess:
        return pid
    except psutil.TimeoutExpired:
        message = (
            f"Pixelmeter (pid {pid}) did not stop within {STOP_TIMEOUT_S:.0f} s. "
            f"See {layout.log_of('supervisor')}; `kill -9 {pid}` ends it with all it started."
        )
        raise LocalError(message) from None
    return pid


def forget_stale(layout: Layout) -> int | None:
    """Remove the traces of a supervisor that was killed; its pid, or None when there are none."""
    if running_pid(layout) is not None:
        return None
    return clean_stale(layout)
