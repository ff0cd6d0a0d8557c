"""Where blocking work goes: a bounded number of threads, so that the loop always answers."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


class Threads:
    """A pool that the handlers share."""

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="comfyui")

    async def run(self, work: Callable[[], Result]) -> Result:
        """The result of blocking work; what it raises is raised here."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what runs."""
        self._pool.shutdown()
