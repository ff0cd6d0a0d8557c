"""Feeds up and outputs down, through page-locked memory, between CUDA events."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from engines.runners.base import Array, Feeds
from engines.runners.cuda import Cuda, Device, Memory

MARKS = ("upload", "execute", "download")  # each between its mark and the next one


class Staging:
    """Device memory for the inputs of one network, kept and grown; used inside a turn."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._blocks: dict[str, tuple[int, Memory]] = {}

    def reserve(self, cuda: Cuda, name: str, length: int) -> int:
        """The address of at least so many bytes; the same as before unless it had to grow."""
        capacity, block = self._blocks.get(name, (0, None))
        if block is None or capacity < length:
            if block is not None:
                del self._blocks[name]
                block.free()
            block = cuda.allocate(length)
            self._blocks[name] = (length, block)
        return block.address

    def upload(self, cuda: Cuda, feeds: Feeds, addresses: Mapping[str, int]) -> list[Array]:
        """Enqueue every feed; what is given back must live until the stream has passed it."""
        staged = []
        for feed in feeds.values():
            pinned = self._device.pinned.take(feed.shape, feed.dtype)
            np.copyto(pinned, feed)
            staged.append(pinned)
        for name, pinned in zip(feeds, staged, strict=True):
            cuda.upload(addresses[name], pinned)
        return staged

    def release(self) -> None:
        """Free everything; inside a turn."""
        for _, block in self._blocks.values():
            block.free()
        self._blocks.clear()


def stages_ms(cuda: Cuda, marks: Sequence[Any]) -> dict[str, float]:
    """Times between the four marks of a run, the last of which is done."""
    return {
        stage: cuda.between_ms(start, end)
        for stage, start, end in zip(MARKS, marks, marks[1:], strict=False)
    }
