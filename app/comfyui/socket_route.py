"""``/ws``: a client listens to what becomes of its prompts."""

import asyncio
import contextlib
import logging
import uuid
from typing import Final

from aiohttp import WSCloseCode, WSMsgType, web

from app.comfyui.kit import KIT, Kit
from app.comfyui.sockets import FRAME_BYTES_MAX, HEARTBEAT_S, Socket, status
from app.comfyui.system import features
from app.errors import InvalidRequestError
from app.json_body import load_object

CLIENT_ID_LENGTH_MAX: Final = 128

logger = logging.getLogger("pixelmeter.comfyui")


async def web_socket(request: web.Request) -> web.StreamResponse:
    """Tell a client what becomes of its prompts until it goes."""
    kit = request.app[KIT]
    if kit.sockets.is_full:
        return web.Response(status=503, text="Too many clients listen; poll /history instead.\n")
    await kit.ask(lambda _session, _caller: None)  # a key that was revoked opens nothing
    name = request.query.get("clientId", "")[:CLIENT_ID_LENGTH_MAX] or uuid.uuid4().hex
    answer = web.WebSocketResponse(max_msg_size=FRAME_BYTES_MAX, heartbeat=HEARTBEAT_S)
    await answer.prepare(request)
    socket = Socket(answer)
    kit.sockets.add(name, socket)
    socket.send(status(kit.watcher.remaining, sid=name))
    kit.watcher.welcome(name)
    writer = asyncio.create_task(socket.write())
    try:
        await _listen(kit, answer, socket)
    finally:
        kit.sockets.remove(name, socket)
        writer.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await writer
    return answer


async def _listen(kit: Kit, answer: web.WebSocketResponse, socket: Socket) -> None:
    """Only the flags of a client's first message are answered; the rest is nothing to us."""
    is_first = True
    async for message in answer:
        if message.type is WSMsgType.ERROR:
            logger.info("a client's socket failed: %s", answer.exception())
        if message.type is WSMsgType.BINARY:
            await answer.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"send text")
        if message.type is WSMsgType.TEXT and is_first:
            is_first = False
            with contextlib.suppress(InvalidRequestError):
                if load_object(message.data.encode()).get("type") == "feature_flags":
                    flags = features(max_upload_bytes=kit.port.max_upload_bytes)
                    socket.send(("feature_flags", flags))
