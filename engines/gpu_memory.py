"""What this process holds on a GPU, by NVML where nvidia-ml-py is installed."""

import os
import re
from functools import cache
from typing import Any

_CUDA = re.compile(r"cuda:(\d+)")


def gpu_memory_bytes(device: str) -> int | None:
    """Bytes of this process on a device such as ``cuda:0 NVIDIA L4``; None where nobody knows."""
    found = _CUDA.match(device)
    nvml = _nvml() if found else None
    if found is None or nvml is None:
        return None
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(int(found[1]))
        processes = nvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except nvml.NVMLError:
        return None
    mine = [each.usedGpuMemory for each in processes if each.pid == os.getpid()]
    return int(mine[0]) if mine and mine[0] is not None else None


@cache
def _nvml() -> Any:  # noqa: ANN401 - the library is untyped
    """The library, initialised once; None where it or the driver is not there."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml
