"""What this machine has for running networks, found without importing any GPU library."""

import ctypes
import os
import platform
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

_MODULES = ("tensorrt", "tensorrt_rtx", "tensorrt_rtx_bindings", "pycuda", "openvino")
_ORT_CUDA_LIBRARY = "capi/libonnxruntime_providers_cuda.so"
_NAME_BYTES = 256
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA device as the driver tells it."""

    index: int
    name: str  # NVIDIA L4
    capability: tuple[int, int]  # (8, 9)
    memory_bytes: int

    @property
    def target(self) -> str:
        """The name plans are built for, e.g. ``sm89``."""
        return f"sm{self.capability[0]}{self.capability[1]}"


@dataclass(frozen=True, slots=True)
class Host:
    """The facts that the choice of a runner depends on."""

    gpus: tuple[Gpu, ...]
    modules: frozenset[str]  # importable of tensorrt, tensorrt_rtx_bindings, pycuda, openvino ...
    has_ort_cuda: bool  # the installed ONNX Runtime is the one with CUDA


def this_host() -> Host:
    """Look once; an installed package is found, not imported."""
    return Host(
        gpus=nvidia_gpus(),
        modules=frozenset(name for name in _MODULES if find_spec(name) is not None),
        has_ort_cuda=_has_ort_cuda(),
    )


def usable_cores() -> int:
    """CPU cores this process may run on, which in a container is fewer than the machine has."""
    return len(os.sched_getaffinity(0))


def cpu_name() -> str:
    """The processor as the kernel calls it, e.g. ``cpu:AMD EPYC 7B13``."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return f"cpu:{found[1].strip() if found else platform.machine()}"


def nvidia_gpus() -> tuple[Gpu, ...]:
    """The devices of the CUDA driver; none where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    return tuple(_gpu(driver, index) for index in range(count.value))


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    major, minor, memory = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, _NAME_BYTES, device)
    driver.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
    driver.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(index, name.value.decode(), (major.value, minor.value), memory.value)


def _has_ort_cuda() -> bool:
    found = find_spec("onnxruntime")
    folders = found.submodule_search_locations if found else None
    return any((Path(folder) / _ORT_CUDA_LIBRARY).is_file() for folder in folders or ())
