"""The port's application: its routes behind two doors, its watcher beside them."""

import asyncio
import contextlib
import ipaddress
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from sqlalchemy.exc import OperationalError

from app.comfyui.errors import PromptError, error_body, refused
from app.comfyui.kit import KIT, Kit
from app.comfyui.port import THREADS, Port
from app.comfyui.routes import add_routes
from app.comfyui.sockets import Sockets
from app.comfyui.threads import Threads
from app.comfyui.watcher import Watcher
from app.errors import ProblemError
from app.storage import StorageUnavailableError
from billing.errors import BillingError

# What is not read in pieces and limited where it is read.
BODY_BYTES_MAX: Final = 1024 * 1024
PICTURES_AT_ONCE: Final = THREADS // 2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

logger = logging.getLogger("pixelmeter.comfyui")


def create_app(port: Port) -> web.Application:
    """Build the application; nothing is opened before it starts."""
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[refusals, same_origin])
    threads, sockets = Threads(THREADS), Sockets()
    watcher, pictures = Watcher(port, sockets, threads), asyncio.Semaphore(PICTURES_AT_ONCE)
    app[KIT] = Kit(port, threads, sockets, watcher, pictures)
    add_routes(app)
    app.cleanup_ctx.append(_watching)
    app.on_shutdown.append(_say_goodbye)
    return app


async def _watching(app: web.Application) -> AsyncIterator[None]:
    kit = app[KIT]
    task = asyncio.create_task(kit.watcher.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    kit.threads.close()
    kit.port.close()


async def _say_goodbye(app: web.Application) -> None:
    await app[KIT].sockets.close()


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal in ComfyUI's form; a stack stays in the log."""
    try:
        return await handler(request)
    except PromptError as error:
        refusal = error
    except (ProblemError, BillingError) as problem:
        status = problem.status if isinstance(problem, ProblemError) else 400
        # Who calls and what is broken keep their status; whatever is asked wrongly is a 400.
        refusal = refused(problem, status=status if status in _KEPT else 400)
    except (OperationalError, StorageUnavailableError) as error:
        logger.warning("the database or the storage does not answer: %s", error)
        part = "database" if isinstance(error, OperationalError) else "storage"
        body = error_body(f"{part}_unavailable", "The server cannot work now", "Try again soon.")
        refusal = PromptError(body, status=503)
    except (web.HTTPException, asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        body = error_body("internal_error", "Something went wrong on the server", "Try again.")
        refusal = PromptError(body, status=500)
    answer = web.json_response(refusal.document(), status=refusal.status)
    if refusal.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        answer.force_close()  # the rest of the body is not waited for
    return answer


_KEPT = frozenset({401, 403, 413, 429, 500, 503, 507})


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """No page of another address may use a port of this machine through its visitor's browser."""
    host, origin = request.headers.get("Host"), request.headers.get("Origin")
    if host and origin and is_foreign(host, origin):
        return web.Response(status=403)
    return await handler(request)


def is_foreign(host: str, origin: str) -> bool:
    """Whether a request to a loopback ``host`` was made by a page of another address. Pure."""
    ours, theirs = urlsplit(f"//{host.lower()}"), urlsplit(origin.lower())
    if not _is_loopback(ours.hostname):
        return False
    try:
        has_ports = ours.port is not None and theirs.port is not None
    except ValueError:
        return True
    if not has_ports:
        return ours.hostname != theirs.hostname
    return ours.netloc != theirs.netloc


def _is_loopback(hostname: str | None) -> bool:
    if hostname is None:
        return False
    try:
        return ipaddress.ip_address(hostname).is_loopback
    except ValueError:
        return hostname == "localhost"
