"""The few things of CUDA that runners need, behind one protocol; pycuda does them.

One device, one primary context, one stream per process: what is enqueued runs in order, and events
on that stream time it. ``Device.turn`` gives one thread at a time the stream, so that nobody's
events span another's work; waiting for a turn happens before the first event and is in no time.
"""

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import c_ubyte
from threading import Lock
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from engines.errors import EngineFaultError, ExhaustedError
from engines.runners.base import Array

Bytes = NDArray[np.uint8]
_BLOCKS_KEPT = 32


class Memory(Protocol):
    """A block of device memory."""

    @property
    def address(self) -> int:
        """Where it begins."""

    def free(self) -> None:
        """Give it back; its address must not be used afterwards."""


class Cuda(Protocol):
    """The calls to the driver. All but ``turn`` and ``pinned`` are made inside a turn."""

    @property
    def device(self) -> str:
        """E.g. ``cuda:0 NVIDIA L4``."""

    @property
    def index(self) -> int:
        """Which device."""

    @property
    def stream_handle(self) -> int:
        """The one stream, as libraries take it."""

    def activate(self) -> None:
        """Make the context current in this thread."""

    def deactivate(self) -> None:
        """Undo ``activate``."""

    def allocate(self, length: int) -> Memory:
        """Device memory; raises ``ExhaustedError``."""

    def page_locked(self, length: int) -> Bytes:
        """Host memory that the device reads and writes by itself; freed with the array."""

    def upload(self, address: int, source: Array) -> None:
        """Enqueue host to device."""

    def download(self, target: Array, address: int) -> None:
        """Enqueue device to host."""

    def mark(self) -> Any:  # noqa: ANN401 - the driver's own event
        """Enqueue a new event."""

    def wait(self, event: Any) -> None:  # noqa: ANN401
        """Until everything before the event is done."""

    def between_ms(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Device time between two events that are done."""

    def memory_used(self) -> int:
        """Bytes in use on the device, by everybody."""


class Device:
    """What the runners of one process share of a GPU.

    Args:
        cuda: the driver.
    """

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.pinned = PinnedPool(cuda)
        self._lock = Lock()

    @contextmanager
    def turn(self) -> Iterator[Cuda]:
        """The stream for this thread alone, with the context current."""
        with self._lock:
            self.cuda.activate()
            try:
                yield self.cuda
            finally:
                self.cuda.deactivate()


class PinnedPool:
    """Page-locked arrays that come back by themselves when nobody refers to them any more.

    Locking pages costs more than a small network, so blocks are kept by size and used again.
    """

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._lock = Lock()
        self._free: dict[int, list[Bytes]] = {}

    def take(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """An array of this shape with undefined content; call it inside a turn."""
        length = max(1, int(np.prod(shape, dtype=np.int64)) * dtype.itemsize)
        with self._lock:
            waiting = self._free.get(length)
            block = None
            if waiting:
                block = waiting.pop()
            elif sum(map(len, self._free.values())) >= _BLOCKS_KEPT:
                self._free.clear()  # sizes that nobody asks for any more
        if block is None:
            block = self._cuda.page_locked(length)
        # Over an owner that is no array: numpy lets views refer past an array to the last array
        # below it, and it is this one that must live as long as its views.
        owner: Any = (c_ubyte * length).from_buffer(cast("Any", block))
        array: Array = np.ndarray(shape, dtype, buffer=owner)
        weakref.finalize(array, self._give_back, length, block).atexit = False
        return array

    def clear(self) -> None:
        """Unlock the pages of every block that is not in use; call it inside a turn."""
        with self._lock:
            self._free.clear()

    def _give_back(self, length: int, block: Bytes) -> None:
        with self._lock:
            self._free.setdefault(length, []).append(block)


class PyCuda:
    """``Cuda`` by pycuda, in the primary context that every library of the process shares."""

    def __init__(self, index: int = 0) -> None:
        from pycuda import driver

        driver.init()
        self._driver = driver
        device = driver.Device(index)
        self._context = device.retain_primary_context()
        self.index = index
        self.device = f"cuda:{index} {device.name()}"
        self.activate()
        try:
            self._stream = driver.Stream()
        finally:
            self.deactivate()

    @property
    def stream_handle(self) -> int:
        """The one stream."""
        return int(self._stream.handle)

    def activate(self) -> None:
        """Make the context current in this thread."""
        self._context.push()

    def deactivate(self) -> None:
        """Undo ``activate``."""
        self._context.pop()

    def allocate(self, length: int) -> Memory:
        """Device memory."""
        return PyCudaMemory(self._taking(lambda: self._driver.mem_alloc(length)))

    def page_locked(self, length: int) -> Bytes:
        """Host memory that the device reads and writes by itself."""
        block: Bytes = self._taking(lambda: self._driver.pagelocked_empty(length, np.uint8))
        return block

    def upload(self, address: int, source: Array) -> None:
        """Enqueue host to device."""
        self._driver.memcpy_htod_async(address, source, self._stream)

    def download(self, target: Array, address: int) -> None:
        """Enqueue device to host."""
        self._driver.memcpy_dtoh_async(target, address, self._stream)

    def mark(self) -> Any:  # noqa: ANN401 - the driver's own event
        """Enqueue a new event."""
        return self._driver.Event().record(self._stream)

    def wait(self, event: Any) -> None:  # noqa: ANN401
        """Until everything before the event is done."""
        event.synchronize()

    def between_ms(self, start: Any, end: Any) -> float:  # noqa: ANN401
        """Device time between two events that are done."""
        return float(start.time_till(end))

    def memory_used(self) -> int:
        """Bytes in use on the device, by everybody."""
        free, total = self._driver.mem_get_info()
        return int(total - free)

    def _taking(self, take: Callable[[], Any]) -> Any:  # noqa: ANN401
        try:
            return take()
        except self._driver.MemoryError as error:
            message = f"{self.device} has too little memory: {error}"
            raise ExhaustedError(message) from error


class PyCudaMemory:
    """A block that pycuda allocated."""

    def __init__(self, allocation: Any) -> None:  # noqa: ANN401 - the library is untyped
        self._allocation = allocation
        self.address = int(allocation)

    def free(self) -> None:
        """Give it back."""
        self._allocation.free()


def open_cuda(index: int) -> Device:
    """The device of this process; raises ``EngineFaultError`` code ``runner_unavailable``."""
    try:
        return Device(PyCuda(index))
    except Exception as error:  # no driver, no device, no library: each has its own class
        message = f"the GPU {index} cannot be used: {error}; install the extra gpu on a GPU host"
        raise EngineFaultError(message, code="runner_unavailable") from error
