"""``/upload/image`` and ``/view``: pictures in and out."""

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Final

from aiohttp import web

from app.comfyui import files
from app.comfyui.kit import KIT, Kit
from app.comfyui.names import BadNameError, Place, annotated
from app.comfyui.port import Port, utc_now
from app.comfyui.uploads import Upload, read_upload, temporary
from app.comfyui.views import rendered, view_of
from app.files.models import File

_COPY_BYTES: Final = 256 * 1024


async def upload(request: web.Request) -> web.Response:
    """Take in a picture under a name."""
    kit = request.app[KIT]
    with temporary() as stream:
        wanted = await read_upload(
            request, stream, kit.threads, max_bytes=kit.port.max_upload_bytes
        )
        async with kit.pictures:
            place = await kit.threads.run(partial(_store, kit.port, wanted))
    return web.json_response(
        {"name": place.name, "subfolder": place.subfolder, "type": place.folder}
    )


def _store(port: Port, wanted: Upload) -> Place:
    with port.intake() as (session, _, intake):
        return files.store_upload(
            session,
            intake,
            place=wanted.place,
            stream=wanted.stream,
            overwrite=wanted.overwrite,
            now=utc_now(),
        )


async def view(request: web.Request) -> web.StreamResponse:
    """A picture: the file, a channel of it, or a lighter copy."""
    kit, wanted = request.app[KIT], view_of(request.query)
    place = viewed_place(request.query)
    file = await kit.ask(
        lambda session, caller: files.find(
            session, tenant_id=caller.tenant_id, place=place, now=utc_now()
        )
    )
    if file is None:
        return web.Response(status=404)
    label = file_label(place.name)
    if wanted.is_plain:
        return await _streamed(request, kit, file, label)
    storage = kit.port.storage
    async with kit.pictures:
        body, media_type = await kit.threads.run(partial(rendered, storage, file, wanted))
    return web.Response(body=body, content_type=media_type, headers={"Content-Disposition": label})


def viewed_place(query: Mapping[str, str]) -> Place:
    """The place that an address names; as ComfyUI, 400 for a name and 403 for a folder outside."""
    name = query.get("filename", "")
    if not name:
        raise web.HTTPNotFound
    if name.startswith("/") or ".." in name:
        raise web.HTTPBadRequest
    try:
        annotated("a", subfolder=query.get("subfolder", ""))
    except BadNameError:
        raise web.HTTPForbidden from None
    try:
        return annotated(
            name,
            folder=query.get("type", "output"),
            subfolder=query.get("subfolder", ""),
        )
    except BadNameError:
        raise web.HTTPBadRequest from None


def file_label(name: str) -> str:
    """The header that tells a file's name; quotes and line ends cannot end it early."""
    clean = name.replace("\\", "_").replace('"', "'").encode("ascii", "replace").decode()
    return f'filename="{clean}"'


async def _streamed(request: web.Request, kit: Kit, file: File, label: str) -> web.StreamResponse:
    # Whatever a browser would run in our name is downloaded instead.
    kind = file.media_type if file.media_type.startswith("image/") else "application/octet-stream"
    answer = web.StreamResponse(
        headers={
            "Content-Disposition": label,
            "Content-Type": kind,
            "X-Content-Type-Options": "nosniff",
            "Content-Length": str(file.bytes),
        }
    )
    try:
        stream = await kit.threads.run(lambda: kit.port.storage.open(file.storage_key))
    except FileNotFoundError:
        return web.Response(status=404)
    with contextlib.closing(stream):
        await answer.prepare(request)
        while chunk := await kit.threads.run(lambda: stream.read(_COPY_BYTES)):
            await answer.write(chunk)
    await answer.write_eof()
    return answer
