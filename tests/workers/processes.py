"""Real worker processes for tests, started with the arguments that production uses."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

GPU = ("worker", "-Q", "engine.detect,engine.colorize,engine.face-swap,finalize", "-n", "gpu1@%h")
BILLING = ("worker", "-Q", "billing,maintenance", "-n", "billing@%h")
WEBHOOKS = ("worker", "-Q", "webhooks", "-n", "webhooks@%h", "-P", "threads", "-c", "8")
QUIET = ("--without-gossip", "--without-mingle", "-l", "INFO")


class Processes:
    """Starts processes in their own groups, with a log each, and kills what is left."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment, "REMAP_SIGTERM": "SIGQUIT"}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def celery(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        return self.start(name, "celery", "-A", "workers.celery_app", *arguments, *QUIET)

    def start(self, name: str, *module: str) -> subprocess.Popen[bytes]:
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running[name] = process
        return process

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def text(self, name: str) -> str:
        return self.log(name).read_text(errors="replace")

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        os.killpg(self._running[name].pid, number)

    def stop_all(self) -> None:
        for process in self._running.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def is_alive(self, name: str) -> bool:
        return self._running[name].poll() is None

    def wait_for(self, name: str, text: str, *, timeout_s: float = 40) -> None:
        wait_until(lambda: text in self.text(name), what=f"{text!r} in {name}", timeout_s=timeout_s)


def wait_until(condition: Callable[[], bool], *, what: str, timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited {timeout_s:g} s for {what}"
        time.sleep(0.02)
