"""Children that cannot outlive their parent (Linux: PR_SET_PDEATHSIG)."""

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None]:
    """Return what a new child runs before exec, so that the kernel signals it when we die.

    The signal follows the *thread* that starts the child: start children from the main thread.
    The kernel forgets it when the child changes its user, so it must be armed after that;
    ``subprocess`` does so.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def arm() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and here
            os._exit(1)

    return arm
