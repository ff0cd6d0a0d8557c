"""The addresses of ComfyUI, each also under ``/api``. A handler reads, calls, answers."""

from functools import partial
from typing import Any

from aiohttp import web

from app.comfyui import files, prompts, reading
from app.comfyui.asked import Asked, read_asked
from app.comfyui.history import history_view, queue_view
from app.comfyui.incoming import json_body, named_prompts, whole_number
from app.comfyui.kit import KIT
from app.comfyui.nodes import object_info
from app.comfyui.picture_routes import upload, view
from app.comfyui.port import Port, utc_now
from app.comfyui.socket_route import web_socket
from app.comfyui.system import features, system_stats


def add_routes(app: web.Application) -> None:
    """Every address and its twin."""
    for prefix in ("", "/api"):
        app.add_routes(
            [
                web.get(f"{prefix}/ws", web_socket),
                web.post(f"{prefix}/upload/image", upload),
                web.get(f"{prefix}/prompt", show_remaining),
                web.post(f"{prefix}/prompt", queue_prompt),
                web.get(f"{prefix}/queue", show_queue),
                web.post(f"{prefix}/queue", change_queue),
                web.post(f"{prefix}/interrupt", interrupt),
                web.get(f"{prefix}/history", show_history),
                web.get(f"{prefix}/history/{{prompt_id}}", show_prompt),
                web.post(f"{prefix}/history", change_history),
                web.get(f"{prefix}/view", view),
                web.get(f"{prefix}/object_info", show_nodes),
                web.get(f"{prefix}/object_info/{{name}}", show_nodes),
                web.get(f"{prefix}/system_stats", show_system),
                web.get(f"{prefix}/features", show_features),
                web.post(f"{prefix}/free", free),
            ]
        )
    app.router.add_get("/", index)


async def index(_request: web.Request) -> web.Response:
    """There is no page here."""
    return web.Response(
        text="The ComfyUI port of Pixelmeter: for programs, it has no page of its own.\n"
    )


async def queue_prompt(request: web.Request) -> web.Response:
    """Turn a graph into jobs."""
    kit = request.app[KIT]
    asked = read_asked(await json_body(request))
    answer = await kit.threads.run(partial(_submit, kit.port, asked))
    kit.watcher.nudge()
    return web.json_response(answer)


def _submit(port: Port, asked: Asked) -> dict[str, Any]:
    with port.intake() as (session, caller, intake):
        return prompts.Submission(session, port, intake, caller, asked, utc_now()).accept()


async def show_remaining(request: web.Request) -> web.Response:
    """How many prompts wait or run."""
    waiting = await request.app[KIT].ask(
        lambda session, caller: len(reading.unended(session, tenant_id=caller.tenant_id))
    )
    return web.json_response({"exec_info": {"queue_remaining": waiting}})


async def show_queue(request: web.Request) -> web.Response:
    """What runs and what waits."""
    return web.json_response(
        await request.app[KIT].ask(
            lambda session, caller: queue_view(reading.unended(session, tenant_id=caller.tenant_id))
        )
    )


async def change_queue(request: web.Request) -> web.Response:
    """Take prompts out before they run: ``{"clear": true}`` or ``{"delete": [ids]}``."""
    kit = request.app[KIT]
    for ids in named_prompts(await json_body(request)):
        await kit.ask(
            lambda session, caller, ids=ids: prompts.cancel_pending(  # type: ignore[misc]
                session, tenant_id=caller.tenant_id, ids=ids
            )
        )
    kit.watcher.nudge()
    return web.Response()


async def interrupt(request: web.Request) -> web.Response:
    """Stop what runs, or one prompt if it runs."""
    kit = request.app[KIT]
    document = await json_body(request, may_be_empty=True)
    prompt_id = document.get("prompt_id")
    await kit.ask(
        lambda session, caller: prompts.interrupt(
            session,
            tenant_id=caller.tenant_id,
            prompt_id=None if prompt_id is None else str(prompt_id),
        )
    )
    kit.watcher.nudge()
    return web.Response()


async def show_history(request: web.Request) -> web.Response:
    """Ended prompts, the oldest first."""
    most, offset = whole_number(request, "max_items"), whole_number(request, "offset")
    limit = reading.HISTORY_MAX if (most or offset) else reading.HISTORY_SHOWN
    found = await request.app[KIT].ask(
        lambda session, caller: history_view(
            reading.newest(session, tenant_id=caller.tenant_id, limit=limit),
            most=most,
            offset=offset,
        )
    )
    return web.json_response(found)


async def show_prompt(request: web.Request) -> web.Response:
    """One ended prompt; an empty object until then, and for what nobody knows."""
    prompt_id = request.match_info["prompt_id"]
    found = await request.app[KIT].ask(
        lambda session, caller: reading.get(
            session, tenant_id=caller.tenant_id, prompt_id=prompt_id
        )
    )
    shown = [] if found is None or found.row["hidden_at"] is not None else [found]
    return web.json_response(history_view(shown, most=None, offset=None))


async def change_history(request: web.Request) -> web.Response:
    """Forget ended prompts: ``{"clear": true}`` or ``{"delete": [ids]}``."""
    for ids in named_prompts(await json_body(request)):
        await request.app[KIT].ask(
            lambda session, caller, ids=ids: prompts.hide(  # type: ignore[misc]
                session, tenant_id=caller.tenant_id, ids=ids
            )
        )
    return web.Response()


async def show_nodes(request: web.Request) -> web.Response:
    """The schemas of the nodes that prompts may use."""
    names = await request.app[KIT].ask(
        lambda session, caller: files.input_names(
            session, tenant_id=caller.tenant_id, now=utc_now()
        )
    )
    return web.json_response(object_info(names, request.match_info.get("name")))


async def show_system(request: web.Request) -> web.Response:
    """The machine and what runs jobs."""
    found = await request.app[KIT].ask(lambda session, _: reading.devices(session))
    return web.json_response(system_stats(found))


async def show_features(request: web.Request) -> web.Response:
    """What a client may count on."""
    return web.json_response(features(max_upload_bytes=request.app[KIT].port.max_upload_bytes))


async def free(request: web.Request) -> web.Response:
    """Models are loaded and dropped by the workers, for everybody: nothing to do."""
    await json_body(request, may_be_empty=True)
    return web.Response()
