"""Child processes: bytes through their pipes by a deadline, and no life without their parent."""

import ctypes
import os
import select
import signal
import time
from typing import Any, BinaryIO, Final

_CHUNK_BYTES: Final = 1 << 20
_PR_SET_PDEATHSIG: Final = 1


def write_all(descriptor: int, content: bytes, deadline: float) -> None:
    """Write everything to a child that may not read.

    Args:
        descriptor: of a pipe, set not to block.
        content: what is written.
        deadline: of ``time.monotonic``.

    Raises:
        TimeoutError: the child did not read it by then.
        OSError: the child is gone.
    """
    view = memoryview(content)
    while view:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([], [descriptor], [], left)[1]:
            raise TimeoutError
        view = view[os.write(descriptor, view[:_CHUNK_BYTES]) :]


def read_exactly(descriptor: int, count: int, deadline: float) -> bytes:
    """Read so many bytes of a child that may not write.

    Raises:
        TimeoutError: they did not come by then.
        EOFError: the child closed the pipe before, which its end does.
    """
    content = bytearray()
    while len(content) < count:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            raise TimeoutError
        part = os.read(descriptor, min(_CHUNK_BYTES, count - len(content)))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def read_stream(stream: BinaryIO, count: int) -> bytes:
    """Read so many bytes of the parent, in the child; ``EOFError`` when it says no more."""
    content = stream.read(count)
    if len(content) < count:
        raise EOFError
    return content


def end_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when the thread that started it ends.

    Args:
        parent: the process that should have started it; when it is gone already, this one ends.
    """
    libc: Any = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if parent is not None and os.getppid() != parent:
        os._exit(1)
