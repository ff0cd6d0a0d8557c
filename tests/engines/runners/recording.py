"""Doubles of CUDA and TensorRT that keep device memory on the host, compute, and record every call.

The device is a set of host buffers with addresses; what is enqueued happens when an event after it
is waited for, as on a real stream, so that a runner that reads too early reads rubbish.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np

from engines.errors import ExhaustedError
from engines.runners.base import TensorSpec
from engines.runners.cuda import Device

MIB = 2**20
RUBBISH = 0xAB


@dataclass
class Block:
    owner: "HostCuda"
    buffer: np.ndarray
    is_free: bool = False

    @property
    def address(self) -> int:
        return self.buffer.ctypes.data

    def free(self) -> None:
        assert self.owner.active, "freed outside a turn"
        assert not self.is_free, "freed twice"
        self.is_free = True
        self.owner.calls.append(("free", self.address))


@dataclass
class Event:
    at_ms: float | None = None


@dataclass
class HostCuda:
    """``Cuda`` with memory of its own and a clock that only its own work moves."""

    index: int = 0
    device: str = "cuda:0 Recorded"
    stream_handle: int = 4711
    capacity: int = 64 * MIB
    execute_ms: float = 5.0
    copy_ms: float = 1.0
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    active: int = 0
    blocks: list[Block] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pending: list[Callable[[], None]] = []
        self._now_ms = 0.0
        self.locked = 0

    def activate(self) -> None:
        self.active += 1

    def deactivate(self) -> None:
        self.active -= 1

    def allocate(self, length: int) -> Block:
        assert self.active, "allocated outside a turn"
        if self.memory_used() + length > self.capacity:
            raise ExhaustedError(f"{self.device} has too little memory")
        block = Block(self, np.full(length, RUBBISH, np.uint8))
        self.blocks.append(block)
        self.calls.append(("allocate", length, block.address))
        return block

    def page_locked(self, length: int) -> np.ndarray:
        self.locked += 1
        return np.full(length, RUBBISH, np.uint8)

    def upload(self, address: int, source: np.ndarray) -> None:
        self.calls.append(("upload", address, source.shape))
        self.enqueue(lambda: _copy(address, source.ctypes.data, source.nbytes), self.copy_ms)

    def download(self, target: np.ndarray, address: int) -> None:
        self.calls.append(("download", address, target.shape))
        self.enqueue(lambda: _copy(target.ctypes.data, address, target.nbytes), self.copy_ms)

    def enqueue(self, work: Callable[[], None], costs_ms: float) -> None:
        def do() -> None:
            work()
            self._now_ms += costs_ms

        self._pending.append(do)

    def mark(self) -> Event:
        event = Event()
        self.calls.append(("mark",))

        def reach() -> None:
            event.at_ms = self._now_ms

        self._pending.append(reach)
        return event

    def wait(self, event: Event) -> None:
        self.calls.append(("wait",))
        pending, self._pending = self._pending, []
        for do in pending:
            do()
        assert event.at_ms is not None

    def between_ms(self, start: Event, end: Event) -> float:
        assert start.at_ms is not None, "asked before the event was reached"
        assert end.at_ms is not None, "asked before the event was reached"
        return end.at_ms - start.at_ms

    def memory_used(self) -> int:
        return sum(len(block.buffer) for block in self.blocks if not block.is_free)

    def names(self) -> list[str]:
        """What was called, in order, without the numbers."""
        return [call[0] for call in self.calls]


def recorded_device(**options: Any) -> tuple[Device, HostCuda]:
    cuda = HostCuda(**options)
    return Device(cuda), cuda


def _copy(target: int, source: int, length: int) -> None:
    _bytes_at(target, length)[:] = _bytes_at(source, length)


def _bytes_at(address: int, length: int) -> np.ndarray:
    from ctypes import c_ubyte

    return np.frombuffer((c_ubyte * length).from_address(address), np.uint8)


def array_at(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    length = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    return _bytes_at(address, length).view(dtype).reshape(shape)


@dataclass
class Network:
    """What the recorded TensorRT runs: a function of arrays, and shapes as functions of shapes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    limits: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]
    shapes: Callable[[dict[str, tuple[int, ...]]], dict[str, tuple[int, ...]]]
    compute: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]


class Context:
    def __init__(self, network: Network, cuda: HostCuda) -> None:
        self._network, self._cuda = network, cuda
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.addresses: dict[str, int] = {}
        self.refuse: set[str] = set()

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._cuda.calls.append(("set_input_shape", name, shape))
        self.shapes[name] = tuple(shape)
        return "set_input_shape" not in self.refuse

    def infer_shapes(self) -> list[str]:
        missing = [each.name for each in self._network.inputs if each.name not in self.shapes]
        return ["output"] if "infer_shapes" in self.refuse else missing

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self.shapes:
            return self.shapes[name]
        if "sized_by_data" in self.refuse:
            return (-1,)
        return self._network.shapes(self.shapes)[name]

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._cuda.calls.append(("set_tensor_address", name, address))
        self.addresses[name] = address
        return "set_tensor_address" not in self.refuse

    def execute_async_v3(self, stream: int) -> bool:
        self._cuda.calls.append(("execute", stream))
        if "execute" in self.refuse:
            return False
        network, shapes = self._network, dict(self.shapes)

        def work() -> None:
            feeds = {
                each.name: array_at(self.addresses[each.name], shapes[each.name], each.dtype)
                for each in network.inputs
            }
            for name, array in network.compute(feeds).items():
                array_at(self.addresses[name], array.shape, array.dtype)[...] = array

        self._cuda.enqueue(work, self._cuda.execute_ms)
        return True


class RecordedTrt:
    """A module that looks like ``tensorrt`` to ``TrtRunner``."""

    __version__ = "11.4.0"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = "internal", "error", "warning"

        def __init__(self) -> None:
            pass

    def __init__(self, network: Network, cuda: HostCuda) -> None:
        self.network, self.cuda = network, cuda
        self.refuse: set[str] = set()
        self.contexts: list[Context] = []
        self.kernels: list[bytes] = []
        self.closed = count()

    @staticmethod
    def nptype(dtype: Any) -> Any:
        return dtype

    def Runtime(self, logger: Any) -> Any:  # noqa: N802 - as the library calls it
        def deserialize(plan: bytes) -> Any:
            self.cuda.calls.append(("deserialize", len(plan)))
            if "deserialize" in self.refuse:
                logger.log(self.ILogger.ERROR, "built for another device\nmore")
                return None
            return self._engine()

        return SimpleNamespace(deserialize_cuda_engine=deserialize)

    def _engine(self) -> Any:
        network = self.network
        specs = {each.name: each for each in (*network.inputs, *network.outputs)}
        names = list(specs)
        inputs = {each.name for each in network.inputs}

        def context(config: Any = None) -> Context | None:
            if "context" in self.refuse:
                return None
            made = Context(network, self.cuda)
            made.refuse = self.refuse
            self.contexts.append(made)
            return made

        return SimpleNamespace(
            num_io_tensors=len(names),
            get_tensor_name=lambda place: names[place],
            get_tensor_shape=lambda name: tuple(
                -1 if length is None else length for length in specs[name].shape
            ),
            get_tensor_dtype=lambda name: specs[name].dtype,
            get_tensor_mode=lambda name: "in" if name in inputs else "out",
            get_tensor_profile_shape=lambda name, index: network.limits[name],
            create_execution_context=context,
            create_runtime_config=lambda: Config(self),
        )


class Config:
    def __init__(self, trt: RecordedTrt) -> None:
        self._trt = trt

    def create_runtime_cache(self) -> Any:
        def deserialize(content: bytes) -> bool:
            self._trt.kernels.append(content)
            return content.startswith(b"kernels")

        return SimpleNamespace(deserialize=deserialize, serialize=lambda: b"kernels of one run")

    def set_runtime_cache(self, cache: Any) -> None:
        self._trt.cuda.calls.append(("set_runtime_cache",))


class HostBinding:
    """An IO binding that takes ``cuda`` addresses for what they are here: host memory."""

    def __init__(self, binding: Any, cuda: HostCuda) -> None:
        self._binding, self._cuda = binding, cuda

    def bind_input(self, name, device, index, dtype, shape, address):  # noqa: PLR0917 - as the library
        assert (device, index) == ("cuda", self._cuda.index)
        self._cuda.calls.append(("bind_input", name, address, tuple(shape)))
        self._binding.bind_input(name, "cpu", 0, dtype, shape, address)

    def bind_output(self, name, device, index):
        assert (device, index) == ("cuda", self._cuda.index)
        self._binding.bind_output(name, "cpu", 0)

    def get_outputs(self):
        return self._binding.get_outputs()


class HostSession:
    """A real session on the CPU that says it is the CUDA provider's.

    It runs at once, so the uploads before it are carried out first, and its time is the stream's.
    """

    def __init__(self, session: Any, cuda: HostCuda) -> None:
        self._session, self._cuda = session, cuda
        self.options: list[Any] = []

    def io_binding(self) -> HostBinding:
        return HostBinding(self._session.io_binding(), self._cuda)

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: HostBinding, options: Any) -> None:
        self._cuda.calls.append(("execute", self._cuda.stream_handle))
        self.options.append(options)
        self._cuda.wait(self._cuda.mark())
        del self._cuda.calls[-2:]  # these two are the double's own
        self._session.run_with_iobinding(binding._binding)  # here is no arena of a GPU
        self._cuda.enqueue(lambda: None, self._cuda.execute_ms)
