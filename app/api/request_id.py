"""The name of a request: the caller's own when it is harmless, a fresh one otherwise."""

import re

from flask import Flask, Response, g, request

from app.ids import new_id

HEADER = "X-Request-Id"
HARMLESS = re.compile(r"[A-Za-z0-9._-]{1,128}")


def current_request_id() -> str:
    """The id of the request at hand; made on first use."""
    known = g.get("request_id")
    if isinstance(known, str):
        return known
    offered = request.headers.get(HEADER, "")
    request_id = offered if HARMLESS.fullmatch(offered) else new_id("req")
    g.request_id = request_id
    return request_id


def register_request_ids(app: Flask) -> None:
    """Put ``X-Request-Id`` on every answer."""

    @app.after_request
    def name_the_answer(response: Response) -> Response:
        response.headers[HEADER] = current_request_id()
        return response
