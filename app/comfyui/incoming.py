"""Bodies and queries of requests, read strictly."""

from typing import Any, Final

from aiohttp import web

from app.comfyui.errors import PromptError, error_body, invalid_prompt
from app.json_body import load_object

JSON_BYTES_MAX: Final = 4 * 1024 * 1024
IDS_MAX: Final = 10_000


async def json_body(request: web.Request, *, may_be_empty: bool = False) -> dict[str, Any]:
    """The JSON object of a request; ComfyUI does not look at its Content-Type either."""
    content = b""
    async for chunk in request.content.iter_chunked(64 * 1024):
        content += chunk
        if len(content) > JSON_BYTES_MAX:
            error = invalid_prompt(f"The body is larger than {JSON_BYTES_MAX} bytes.")
            error.status = 413
            raise error
    if may_be_empty and not content.strip():
        return {}
    return load_object(content)


def named_prompts(document: dict[str, Any]) -> list[frozenset[str] | None]:
    """What ``clear`` and ``delete`` name; None: everything."""
    named: list[frozenset[str] | None] = []
    if document.get("clear"):
        named.append(None)
    wanted = document.get("delete", [])
    if not isinstance(wanted, list) or len(wanted) > IDS_MAX:
        raise invalid_prompt("delete is no list of prompt ids.")
    if wanted:
        named.append(frozenset(str(each) for each in wanted))
    return named


def whole_number(request: web.Request, name: str) -> int | None:
    """A number of the query; None where it is not there, -1 for every negative one."""
    text = request.query.get(name)
    if text is None:
        return None
    try:
        return max(int(text[:12]), -1)
    except ValueError:
        body = error_body("invalid_query", f"{name} is no whole number", text[:80])
        raise PromptError(body) from None
