"""Looks how the prompts stand and tells their clients; one task of the loop.

Nothing is kept here that a restart may not lose: a prompt's end is noted in its row once its client
heard it, so a client that comes back, or a port that does, hears the rest.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from app.comfyui import prompts, reading
from app.comfyui.history import Message
from app.comfyui.messages import Told, news
from app.comfyui.port import Port, utc_now
from app.comfyui.reading import Prompt
from app.comfyui.sockets import Sockets, status
from app.comfyui.threads import Threads
from app.errors import ProblemError

BUSY_S: Final = 0.15  # between two looks while something runs
IDLE_S: Final = 1.0
PARKED_S: Final = 600.0  # how long the end of a prompt waits for its client
TIDY_S: Final = 3600.0

logger = logging.getLogger("pixelmeter.comfyui")


@dataclass(frozen=True, slots=True)
class _Parked:
    """An ended prompt whose client is not here."""

    client_id: str
    until: float  # monotonic


class Watcher:
    """Tells what happens to prompts. Lives in the loop's thread; looks in another one."""

    def __init__(self, port: Port, sockets: Sockets, threads: Threads) -> None:
        self._port = port
        self._sockets = sockets
        self._threads = threads
        self._told: dict[str, dict[str, Told]] = {}  # by client and prompt
        self._parked: dict[str, _Parked] = {}
        self._heard: list[str] = []  # ended, and to be noted as told
        self._remaining = 0
        self._nudged = asyncio.Event()
        self._tidied_at = time.monotonic()

    @property
    def remaining(self) -> int:
        """Prompts that wait or run, as of the last look."""
        return self._remaining

    def nudge(self) -> None:
        """Look now: something was accepted or canceled."""
        self._nudged.set()

    def welcome(self, client_id: str) -> None:
        """A client came (back): what it waits for is told from its beginning."""
        for prompt_id, parked in tuple(self._parked.items()):
            if parked.client_id == client_id:
                del self._parked[prompt_id]
        self._told.pop(client_id, None)
        self.nudge()

    async def run(self) -> None:
        """Look until the task is cancelled."""
        while True:
            try:
                await self._look()
            except (SQLAlchemyError, ProblemError) as error:
                logger.warning("the prompts cannot be looked at: %s", error)
            self._nudged.clear()
            pause = BUSY_S if self._remaining or self._heard else IDLE_S
            try:
                await asyncio.wait_for(self._nudged.wait(), pause)
            except TimeoutError:
                continue

    async def _look(self) -> None:
        heard, parked = tuple(self._heard), tuple(self._parked)
        is_due = time.monotonic() - self._tidied_at > TIDY_S
        found = await self._threads.run(lambda: self._read(heard, parked, tidy=is_due))
        if is_due:
            self._tidied_at = time.monotonic()
        self._heard = [each for each in self._heard if each not in heard]
        remaining = sum(1 for prompt in found if not prompt.has_ended)
        if remaining != self._remaining:
            self._remaining = remaining
            self._sockets.tell_all(status(remaining))
        for prompt in found:
            self._tell(prompt)
        self._give_up_parked()

    def _read(self, heard: Sequence[str], parked: Sequence[str], *, tidy: bool) -> list[Prompt]:
        with self._port.work() as (session, caller):
            if heard:
                prompts.mark_told(session, tenant_id=caller.tenant_id, ids=heard)
            if tidy:
                prompts.forget_old(session, tenant_id=caller.tenant_id, now=utc_now())
            return reading.watched(session, tenant_id=caller.tenant_id, parked=parked)

    def _tell(self, prompt: Prompt) -> None:
        client_id = prompt.row["client_id"]
        told = Told()
        if client_id is not None and self._sockets.has(client_id):
            before = self._told.setdefault(client_id, {})
            said, told = news(prompt, before.get(prompt.id, told))
            before[prompt.id] = told
            for message in said:
                self._say(client_id, message)
        if not prompt.has_ended:
            return
        if client_id is None or told.is_ended:
            self._heard.append(prompt.id)
            self._told.get(client_id or "", {}).pop(prompt.id, None)
        else:
            self._parked[prompt.id] = _Parked(client_id, time.monotonic() + PARKED_S)

    def _say(self, client_id: str, message: Message) -> None:
        if message[0] == "execution_interrupted":  # which ComfyUI tells everybody
            self._sockets.tell_all(message)
        else:
            self._sockets.tell(client_id, message)

    def _give_up_parked(self) -> None:
        now = time.monotonic()
        for prompt_id, parked in tuple(self._parked.items()):
            if now > parked.until:
                del self._parked[prompt_id]
                self._heard.append(prompt_id)
