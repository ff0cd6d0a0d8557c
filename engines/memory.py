"""Memory of this process and of the machine, in bytes."""

import ctypes
import os
import re
from contextlib import suppress
from pathlib import Path

_STATM = Path("/proc/self/statm")
_MEMINFO = Path("/proc/meminfo")
_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_SHARE = 0.5  # of the machine's memory; pictures, frames and results need the rest
_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    """What this process holds now; 0 where the kernel does not tell."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * _PAGE
    except OSError:
        return 0


def default_budget_bytes() -> int:
    """Half of what the machine, or the container, has."""
    found = re.search(r"^MemTotal:\s+(\d+) kB$", _MEMINFO.read_text("ascii"), re.MULTILINE)
    total = int(found[1]) * 1024 if found else 2**62
    with suppress(OSError, ValueError):  # no such limit, or "max"
        total = min(total, int(_CGROUP_LIMIT.read_text("ascii")))
    return int(total * _SHARE)


def give_back_freed() -> None:
    """Return freed memory to the system, which the C library otherwise keeps for itself."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
