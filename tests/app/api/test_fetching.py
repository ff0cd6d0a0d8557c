"""A server that hangs, drips, lies or floods costs the total deadline and leaves nothing."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.api.fetching import fetcher
from app.outbound import Limits, OutboundPolicy, OutboundReason, OutboundRefusedError
from app.storage.scratch import ScratchFolder
from tests.app.web_server import answering, picture, serving

LIMITS = Limits(connect_s=1.0, total_s=1.0)
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def policy() -> OutboundPolicy:
    return OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=ssl.create_default_context())


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """Where scratch files go, so that one left behind is seen."""
    return tmp_path / "scratch"


def hang(connection: socket.socket) -> None:
    connection.recv(65536)
    time.sleep(2)


def drip_the_head(connection: socket.socket) -> None:
    connection.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 20:
        connection.sendall(bytes([byte]))
        time.sleep(0.1)


def drip_the_body(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(20):
        connection.sendall(b"x")
        time.sleep(0.1)


def drip_chunks(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(20):
        connection.sendall(b"1\r\nx\r\n")
        time.sleep(0.1)


def promise_and_stop(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort")
    time.sleep(2)


def flood(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"x" * 65536)


def flood_in_chunks(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(OSError):
        while True:
            connection.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")


HUGE = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000000\r\n\r\n")
CUT = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort")
NEGATIVE = answering(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + b"x" * (MAX_BYTES + 1))


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (hang, OutboundReason.TIMED_OUT),
        (drip_the_head, OutboundReason.TIMED_OUT),
        (drip_the_body, OutboundReason.TIMED_OUT),
        (drip_chunks, OutboundReason.TIMED_OUT),
        (promise_and_stop, OutboundReason.TIMED_OUT),
        (flood, OutboundReason.TOO_LARGE),
        (flood_in_chunks, OutboundReason.TOO_LARGE),
        (HUGE, OutboundReason.TOO_LARGE),
        (NEGATIVE, OutboundReason.TOO_LARGE),
        (CUT, OutboundReason.BAD_ANSWER),
    ],
)
def test_a_bad_server_is_cut_off_in_time_and_nothing_is_kept(
    server: Callable[[socket.socket], None],
    reason: OutboundReason,
    policy: OutboundPolicy,
    scratch: Path,
) -> None:
    fetch = fetcher(policy, ScratchFolder(scratch).file, max_bytes=MAX_BYTES, limits=LIMITS)
    with serving(server) as port:
        started = time.monotonic()
        with pytest.raises(OutboundRefusedError) as refused:
            fetch(f"http://127.0.0.1:{port}/a.png")
        assert time.monotonic() - started < 1.9
    assert refused.value.reason is reason
    assert list(scratch.iterdir()) == []


def test_what_was_fetched_is_a_file_without_a_name(policy: OutboundPolicy, scratch: Path) -> None:
    fetch = fetcher(policy, ScratchFolder(scratch).file, max_bytes=MAX_BYTES, limits=LIMITS)
    with serving(picture(b"bytes")) as port, fetch(f"http://127.0.0.1:{port}/") as stream:
        assert list(scratch.iterdir()) == []
        assert stream.read() == b"bytes"
