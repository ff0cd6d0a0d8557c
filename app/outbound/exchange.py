"""One HTTP/1.1 exchange with a checked address, under one deadline that covers all of it.

Libraries time out per read, so a server that drips a byte per second holds them for ever. Here
every socket operation gets what is left of the total.
"""

import contextlib
import http.client
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.outbound.connection import NetworkError, PinnedConnection
from app.outbound.target import (
    OutboundPolicy,
    OutboundReason,
    OutboundRefusedError,
    Target,
    check_url,
)

_CHUNK_BYTES = 64 * 1024
_USER_AGENT = "Pixelmeter/1"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how much. ``total_s`` covers resolving, connecting, TLS, sending, reading."""

    connect_s: float = 5.0
    total_s: float = 15.0
    max_response_bytes: int = 16 * 1024


WEBHOOK_LIMITS = Limits()
FETCH_LIMITS = Limits(connect_s=5.0, total_s=60.0)


@dataclass(frozen=True, slots=True)
class Response:
    """What a POST brought back."""

    status: int
    body_excerpt: str  # at most ``max_response_bytes``; safe to store as text
    duration_ms: int
    retry_after: str | None = None  # the header as sent


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a GET stored."""

    bytes: int
    media_type: str | None  # as claimed by the server: a hint, never trusted


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    policy: OutboundPolicy,
    limits: Limits = WEBHOOK_LIMITS,
) -> Response:
    """POST once and return whatever status came back; a redirect is an answer like any other.

    Raises:
        OutboundRefusedError: the URL may not be reached, or no HTTP answer came in time.
    """
    started = time.monotonic()
    target = check_url(url, policy)
    with _exchange(
        target, method="POST", policy=policy, limits=limits, headers=headers, body=body
    ) as answer:
        excerpt = answer.read(limits.max_response_bytes)
        return Response(
            status=answer.status,
            body_excerpt=excerpt.decode("utf-8", "replace").replace("\0", "\ufffd"),
            duration_ms=round((time.monotonic() - started) * 1000),
            retry_after=answer.headers.get("Retry-After"),
        )


def fetch(
    url: str,
    policy: OutboundPolicy,
    max_bytes: int,
    destination: Path,
    limits: Limits = FETCH_LIMITS,
) -> Fetched:
    """GET a file into ``destination`` (created or replaced; removed again when it fails).

    Raises:
        OutboundRefusedError: the URL may not be reached, did not answer 200 with plain bytes in
            time, or the file is larger than ``max_bytes``.
    """
    target = check_url(url, policy)
    try:
        with _exchange(target, method="GET", policy=policy, limits=limits, headers={}) as answer:
            _check_file_answer(answer, max_bytes)
            return Fetched(_save(answer, destination, max_bytes), answer.headers.get_content_type())
    except BaseException:
        destination.unlink(missing_ok=True)
        raise


def _check_file_answer(answer: http.client.HTTPResponse, max_bytes: int) -> None:
    if answer.status != http.client.OK:
        detail = f"The URL answered with status {answer.status}; redirects are not followed."
        raise OutboundRefusedError(OutboundReason.BAD_ANSWER, detail)
    if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
        detail = "The URL answered with compressed content although plain bytes were asked for."
        raise OutboundRefusedError(OutboundReason.BAD_ANSWER, detail)
    if (answer.length or 0) > max_bytes:
        raise _too_large(max_bytes)


def _save(answer: http.client.HTTPResponse, destination: Path, max_bytes: int) -> int:
    written = 0
    with destination.open("wb") as file:
        while chunk := answer.read(_CHUNK_BYTES):
            written += len(chunk)
            if written > max_bytes:
                raise _too_large(max_bytes)
            file.write(chunk)
    if answer.length:
        detail = f"The URL's answer ended {answer.length} bytes too early."
        raise OutboundRefusedError(OutboundReason.BAD_ANSWER, detail)
    return written


def _too_large(max_bytes: int) -> OutboundRefusedError:
    detail = f"The file behind the URL is larger than {max_bytes} bytes."
    return OutboundRefusedError(OutboundReason.TOO_LARGE, detail)


@contextlib.contextmanager
def _exchange(
    target: Target,
    *,
    method: str,
    policy: OutboundPolicy,
    limits: Limits,
    headers: Mapping[str, str],
    body: bytes | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """Send one request; network failures of the exchange and of reading become one error."""
    deadline = time.monotonic() + limits.total_s
    connection = PinnedConnection(target, policy, connect_s=limits.connect_s, deadline=deadline)
    try:
        connection.request(method, target.path, body=body, headers=_headers(target, headers))
        yield connection.getresponse()
    except TimeoutError:
        detail = f"{target.host} did not answer completely within {limits.total_s:g} s."
        raise OutboundRefusedError(OutboundReason.TIMED_OUT, detail) from None
    except http.client.RemoteDisconnected:
        detail = f"{target.host} closed the connection without an answer."
        raise OutboundRefusedError(OutboundReason.UNREACHABLE, detail) from None
    except http.client.HTTPException as error:
        detail = f"{target.host} answered with something that is not HTTP: {type(error).__name__}."
        raise OutboundRefusedError(OutboundReason.BAD_ANSWER, detail) from None
    except ssl.SSLError as error:
        detail = f"No trusted TLS connection to {target.host}: {error.reason or 'TLS failed'}."
        raise OutboundRefusedError(OutboundReason.UNREACHABLE, detail) from None
    except NetworkError as error:
        detail = f"No connection to {target.host}: {error}."
        raise OutboundRefusedError(OutboundReason.UNREACHABLE, detail) from None
    finally:
        connection.hang_up()


def _headers(target: Target, headers: Mapping[str, str]) -> dict[str, str]:
    return {
        "User-Agent": _USER_AGENT,
        "Accept": "*/*",
        **headers,
        "Host": target.authority,
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
