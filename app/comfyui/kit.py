"""What the handlers share, and how they ask the database: always in a thread."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from aiohttp import web
from sqlalchemy.orm import Session

from app.comfyui.port import Caller, Port
from app.comfyui.sockets import Sockets
from app.comfyui.threads import Threads
from app.comfyui.watcher import Watcher

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Kit:
    """What the handlers share."""

    port: Port
    threads: Threads
    sockets: Sockets
    watcher: Watcher
    # Of pictures that are taken in or made: some threads are always left for quick questions.
    pictures: asyncio.Semaphore

    async def ask(self, work: Callable[[Session, Caller], Answer]) -> Answer:
        """One transaction of the port's tenant, in a thread."""
        return await self.threads.run(partial(_in_transaction, self.port, work))


def _in_transaction(port: Port, work: Callable[[Session, Caller], Answer]) -> Answer:
    with port.work() as (session, caller):
        return work(session, caller)


KIT: Final = web.AppKey("kit", Kit)
