"""A worker's child process must not outlive its main process.

When the main process is killed, its child would finish a job that has been given to another worker
by then: the fence refuses the result, but the processor time is gone. The kernel's own signal for
a parent's death follows the parent's *thread*, and the pool may start children from any of them.
"""

import logging
import os
import signal
import threading
import time

from celery.signals import worker_process_init

LOOK_EVERY_S = 1.0

log = logging.getLogger(__name__)


class ParentWatch(threading.Thread):
    """Ends this process at once when it is adopted by somebody else."""

    def __init__(self, *, look_every_s: float = LOOK_EVERY_S) -> None:
        super().__init__(name="parent-watch", daemon=True)
        self._parent = os.getppid()
        self._look_every_s = look_every_s

    def run(self) -> None:
        """Look until the parent is gone."""
        while os.getppid() == self._parent:
            time.sleep(self._look_every_s)
        log.warning("the main process is gone; its child ends too")
        os.kill(os.getpid(), signal.SIGKILL)


def watch_parent(**_: object) -> None:
    """Start to watch, in a child that has just been started."""
    ParentWatch().start()


worker_process_init.connect(watch_parent, weak=False)
