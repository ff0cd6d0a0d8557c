"""Taking from this process for good what inference does not need.

Memory without end, the network, files, programs, other processes.

Linux. Limits and the death with the parent always hold. A network namespace and the filter of
system calls hold where the kernel permits them; ``confine`` says which do, and either of the two
alone leaves no way to a socket.
"""

import ctypes
import platform
import resource
import struct
from collections.abc import Sequence
from typing import Final

from engines.child_process import end_with_parent

ADDRESS_SPACE_BYTES: Final = (
    3 * 1024**3
)  # addresses: Python and the runtime map 1 GiB by themselves
OPEN_FILES: Final = 64
_LIMITS: Final = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_NOFILE, OPEN_FILES),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_AS, ADDRESS_SPACE_BYTES),
)

_PR_SET_SECCOMP: Final = 22
_PR_SET_NO_NEW_PRIVS: Final = 38
_SECCOMP_MODE_FILTER: Final = 2
_CLONE_NEWUSER: Final = 0x10000000
_CLONE_NEWNET: Final = 0x40000000

# Numbers of the calls that are refused, by machine: sockets, files by name, programs, other
# processes, and the interfaces by which these are reached without naming them.
_AUDIT_ARCH: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED: Final = {
    "x86_64": (
        *(41, 42, 43, 44, 49, 50, 53, 288),  # socket connect accept sendto bind listen pair
        *(2, 85, 257, 437, 82, 264, 316, 87, 263, 86, 265, 88, 266, 90, 268),  # open .. chmod
        *(59, 322, 57, 58, 62),  # execve execveat fork vfork kill
        *(101, 310, 311, 155, 161, 165, 166, 246, 250, 298, 321, 323, 425, 426, 427, 175, 313),
    ),
    "aarch64": (
        *(198, 203, 202, 206, 200, 201, 199, 242),
        *(56, 437, 38, 276, 35, 36, 37, 53),
        *(221, 281, 129),
        *(117, 270, 271, 41, 51, 40, 39, 104, 219, 241, 280, 282, 425, 426, 427, 105, 273),
    ),
}
# BPF: load, jump if equal, jump if greater or equal, return
_LOAD, _JEQ, _JGE, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # refuse: the call fails with EPERM
_X32_CALLS: Final = 0x40000000


def confine(*, cpu_s: int | None) -> list[str]:
    """Confine this process and its threads to come; returns what holds.

    ``cpu_s`` ends it after so much processor time; None: the parent watches the clock. Everything
    that will be imported must have been: no file can be opened afterwards.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    end_with_parent()
    for kind, value in _LIMITS:
        _lower(kind, value)
    if cpu_s is not None:
        _lower(resource.RLIMIT_CPU, cpu_s, grace=1)  # the signal of the soft limit says why
    holds = ["limits"]
    alone = libc.unshare(_CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0
    if alone:
        holds.append("no_network")
    if _filter_calls(libc):
        holds.append("no_system")
    return holds


def _lower(kind: int, value: int, *, grace: int = 0) -> None:
    hard = resource.getrlimit(kind)[1]
    most = value + grace if hard == resource.RLIM_INFINITY else min(value + grace, hard)
    resource.setrlimit(kind, (min(value, most), most))


def _filter_calls(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _REFUSED or libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    code = b"".join(call_filter(_AUDIT_ARCH[machine], _REFUSED[machine]))
    program = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    filter_ = Program(len(code) // 8, ctypes.addressof(program))
    done = libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0)
    return bool(done == 0)


def call_filter(arch: int, refused: Sequence[int]) -> list[bytes]:
    """The instructions: another machine's calls kill, refused ones fail, the rest goes on. Pure."""
    count = len(refused)
    return [
        _op(_LOAD, 4),  # the architecture of the call
        _op(_JEQ, arch, then=1),
        _op(_RETURN, _KILL),
        _op(_LOAD, 0),  # its number
        _op(_JGE, _X32_CALLS, then=count + 1),  # the other table of an x86_64 kernel
        *(_op(_JEQ, number, then=count - index) for index, number in enumerate(refused)),
        _op(_RETURN, _ALLOW),
        _op(_RETURN, _REFUSE),
    ]


def _op(code: int, value: int, *, then: int = 0) -> bytes:
    return struct.pack("=HBBI", code, then, 0, value)
