"""What the caller of `pixelmeter up` chose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The shape of one run on this machine."""

    port: int = 8000  # of the API, on the loopback address
    comfyui_port: int = 8188  # for clients of ComfyUI, on the loopback address
    gpu_workers: int = 1  # how many jobs run at once
    allow_anonymous: bool = False  # face-swap clients of this machine may send no key
