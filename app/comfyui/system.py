"""What the port says about itself: ``/system_stats`` and ``/features``."""

import os
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import psutil

# The version of ComfyUI whose protocol is spoken here (Comfy-Org/ComfyUI a125cd8).
PROTOCOL_VERSION: Final = "0.3.64"


def system_stats(devices: Sequence[str]) -> dict[str, Any]:
    """The machine of the port, and the devices of the workers that run jobs.

    Workers tell no memory of theirs, so those numbers are 0.
    """
    memory = psutil.virtual_memory()
    return {
        "system": {
            "os": os.name,
            "ram_total": memory.total,
            "ram_free": memory.available,
            "comfyui_version": PROTOCOL_VERSION,
            "pixelmeter_version": _own_version(),
            "python_version": sys.version,
            "pytorch_version": "",
            "embedded_python": False,
            "argv": ["pixelmeter"],
        },
        "devices": [_device(name, index) for index, name in enumerate(devices)],
    }


def features(*, max_upload_bytes: int) -> dict[str, Any]:
    """What a client may count on."""
    return {"supports_preview_metadata": False, "max_upload_size": max_upload_bytes}


def _device(name: str, index: int) -> dict[str, Any]:
    kind = "cpu" if "cpu" in name.lower() else "cuda"
    memory = ("vram_total", "vram_free", "torch_vram_total", "torch_vram_free")
    return {"name": name, "type": kind, "index": index, **dict.fromkeys(memory, 0)}


def _own_version() -> str:
    try:
        return version("pixelmeter")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"
