"""A webhook receiver as a customer would write it: verify first, then believe.

The signature is checked by the independent ``standardwebhooks`` library, not by our own code.
"""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from app.demo.errors import DemoError
from app.demo.media import INSTALL

BODY_BYTES_MAX = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """One POST that arrived."""

    webhook_id: str
    type: str  # "" when the signature was wrong: an unverified body is not read
    job: str  # or whatever the event is about
    verified: bool
    data: Mapping[str, Any] = field(default_factory=dict)


class Receiver:
    """An HTTP server on a free loopback port for the time of a ``with`` block."""

    def __init__(self, secret: str) -> None:
        """``secret`` is the ``whsec_`` text that jobs give for their webhook.

        Raises:
            DemoError: the ``standardwebhooks`` package is missing.
        """
        self._received: list[Received] = []
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(_verifier(secret), self._add))
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/webhooks"

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def received(self) -> list[Received]:
        """Everything that arrived so far."""
        with self._arrived:
            return list(self._received)

    def wait_for(self, jobs: set[str], *, timeout_s: float) -> set[str]:
        """Wait until each job has sent a verified webhook; return the jobs that did not."""
        give_up_at = time.monotonic() + timeout_s
        with self._arrived:
            while True:
                missing = jobs - {each.job for each in self._received if each.verified}
                left = give_up_at - time.monotonic()
                if not missing or left <= 0:
                    return missing
                self._arrived.wait(left)

    def _add(self, received: Received) -> None:
        with self._arrived:
            self._received.append(received)
            self._arrived.notify_all()


Verify = Callable[[bytes, dict[str, str]], Any]


def _verifier(secret: str) -> Verify:
    try:
        from standardwebhooks import Webhook  # noqa: PLC0415 - part of the demo extra only
    except ImportError:
        message = f"The demo needs the package standardwebhooks. Install it with: {INSTALL}"
        raise DemoError(message) from None
    verify: Verify = Webhook(secret).verify
    return verify


def _handler(verify: Verify, add: Callable[[Received], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            body = self.rfile.read(min(length, BODY_BYTES_MAX))
            received = _read(verify, body, dict(self.headers.items()))
            status = HTTPStatus.NO_CONTENT if received.verified else HTTPStatus.UNAUTHORIZED
            # Answer before anybody is told: a demo that ends at once must not cut the answer off.
            with suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                self.end_headers()
            add(received)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing: the demo draws on the terminal."""

    return Handler


def _read(verify: Verify, body: bytes, headers: dict[str, str]) -> Received:
    webhook_id = {name.lower(): value for name, value in headers.items()}.get("webhook-id", "")
    try:
        event = verify(body, headers)
    except Exception:  # noqa: BLE001 - whatever the library says, it did not verify
        return Received(webhook_id=webhook_id, type="", job="", verified=False)
    data = event["data"]
    return Received(
        webhook_id=webhook_id, type=event["type"], job=data["id"], verified=True, data=data
    )
