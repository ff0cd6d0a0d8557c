"""Open WebSockets by the id their clients chose. A slow reader holds nobody up.

Each socket has its own queue and its own writer: what does not fit any more belongs to a client
that does not read, and its socket is closed. All calls come from the loop's thread.
"""

import asyncio
import contextlib
import json
from typing import Any, Final

from aiohttp import WSCloseCode, web

from app.comfyui.history import Message

SOCKETS_MAX: Final = 900
WAITING_MAX: Final = 512  # messages
FRAME_BYTES_MAX: Final = 64 * 1024
HEARTBEAT_S: Final = 30.0
CLOSE_TIMEOUT_S: Final = 5.0


class Socket:
    """One client: what it is sent waits here until it was written."""

    def __init__(self, web_socket: web.WebSocketResponse) -> None:
        self.web_socket = web_socket
        self._waiting: asyncio.Queue[str] = asyncio.Queue(WAITING_MAX)
        self._is_lost = False

    def send(self, message: Message) -> bool:
        """Queue a message; False where the client does not read or is gone."""
        if self._is_lost or self.web_socket.closed:
            return False
        try:
            self._waiting.put_nowait(json.dumps({"type": message[0], "data": message[1]}))
        except asyncio.QueueFull:
            self._is_lost = True
            return False
        return True

    async def write(self) -> None:
        """Write what waits until the socket is closed."""
        while not self._is_lost:
            text = await self._waiting.get()
            try:
                await self.web_socket.send_str(text)
            except (ConnectionError, RuntimeError):  # closed between two messages
                return
        reason = b"messages are not read"
        await self.web_socket.close(code=WSCloseCode.POLICY_VIOLATION, message=reason)


class Sockets:
    """All clients of the port."""

    def __init__(self) -> None:
        self._named: dict[str, Socket] = {}
        self._all: set[Socket] = set()

    @property
    def is_full(self) -> bool:
        """Whether no more are taken."""
        return len(self._all) >= SOCKETS_MAX

    def add(self, name: str, socket: Socket) -> None:
        """A client is here; an earlier socket of its name hears nothing more of its prompts."""
        self._named[name] = socket
        self._all.add(socket)

    def remove(self, name: str, socket: Socket) -> None:
        """It is gone."""
        self._all.discard(socket)
        if self._named.get(name) is socket:
            del self._named[name]

    def has(self, name: str | None) -> bool:
        """Whether a client of this name listens."""
        return name in self._named

    def tell(self, name: str, message: Message) -> None:
        """Say something to one client."""
        socket = self._named.get(name)
        if socket is not None:
            socket.send(message)

    def tell_all(self, message: Message) -> None:
        """Say something to everybody."""
        for socket in tuple(self._all):
            socket.send(message)

    async def close(self) -> None:
        """End all of them: the port stops."""
        closing = [
            socket.web_socket.close(code=WSCloseCode.GOING_AWAY, message=b"the port stops")
            for socket in tuple(self._all)
        ]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await asyncio.gather(*closing, return_exceptions=True)


def status(remaining: int, *, sid: str | None = None) -> Message:
    """How many prompts wait or run; ``sid`` is told once, when a socket opens."""
    data: dict[str, Any] = {"status": {"exec_info": {"queue_remaining": remaining}}}
    return "status", data if sid is None else {**data, "sid": sid}
