"""What a hostile server on the way out cannot do."""

import contextlib
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.outbound import (
    Limits,
    OutboundPolicy,
    OutboundReason,
    OutboundRefusedError,
    fetch,
    post,
)
from tests.app.outbound.conftest import HERE, reason_of
from tests.app.web_server import answering, serving

SHORT = Limits(connect_s=1.0, total_s=1.0)


def test_the_name_travels_as_host_and_the_body_as_it_is(tls: ssl.SSLContext) -> None:
    seen: list[bytes] = []

    def answer(connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"}"):
            request += connection.recv(65536)
        seen.append(request)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    policy = OutboundPolicy(allow_hosts=HERE, tls=tls, resolver=lambda *_: ["127.0.0.1"])
    with serving(answer) as port:
        response = post(f"http://hooks.test:{port}/h?a=b", b'{"x":1}', {"webhook-id": "m"}, policy)
    request = seen[0].decode()
    assert request.startswith("POST /h?a=b HTTP/1.1\r\n")
    assert f"\r\nHost: hooks.test:{port}\r\n" in request
    assert "\r\nAccept-Encoding: identity\r\n" in request
    assert "\r\nwebhook-id: m\r\n" in request
    assert request.endswith('\r\n\r\n{"x":1}')
    assert (response.status, response.body_excerpt) == (200, "ok")


def test_proxies_of_the_environment_are_ignored(
    local: OutboundPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with serving(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as port:
        assert post(f"http://127.0.0.1:{port}/", b"", {}, local).status == 204


def test_a_redirect_is_an_answer_and_nobody_follows_it(local: OutboundPolicy) -> None:
    canary: list[int] = []
    with serving(lambda _: canary.append(1)) as other:
        answer = f"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:{other}/\r\n\r\n"
        with serving(answering(answer.encode())) as port:
            assert post(f"http://127.0.0.1:{port}/", b"", {}, local).status == 302
        time.sleep(0.1)
    assert canary == []


def hang(connection: socket.socket) -> None:
    connection.recv(65536)
    time.sleep(1.5)


def drip_headers(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(16):
        connection.sendall(b"X: y\r\n"[:1])
        time.sleep(0.1)


def drip_body(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _ in range(16):
        connection.sendall(b"x")
        time.sleep(0.1)


@pytest.mark.parametrize("answer", [hang, drip_headers, drip_body])
def test_a_server_that_hangs_or_drips_costs_the_total_deadline_and_no_more(
    answer: Callable[[socket.socket], None], local: OutboundPolicy
) -> None:
    with serving(answer) as port:
        started = time.monotonic()
        reason = reason_of(lambda: post(f"http://127.0.0.1:{port}/", b"{}", {}, local, SHORT))
        assert reason is OutboundReason.TIMED_OUT
        assert 0.9 < time.monotonic() - started < 1.8


def test_a_resolver_that_hangs_costs_the_connect_deadline(tls: ssl.SSLContext) -> None:
    def slow(_host: str, _port: int) -> list[str]:
        time.sleep(2)
        return ["127.0.0.1"]

    policy = OutboundPolicy(tls=tls, resolver=slow)
    started = time.monotonic()
    limits = Limits(connect_s=0.3, total_s=5)
    reason = reason_of(lambda: post("https://slow.test/", b"", {}, policy, limits))
    assert reason is OutboundReason.TIMED_OUT
    assert time.monotonic() - started < 1.5


def test_a_tls_handshake_that_hangs_costs_the_connect_deadline(local: OutboundPolicy) -> None:
    with serving(hang) as port:
        started = time.monotonic()
        reason = reason_of(lambda: post(f"https://localhost:{port}/", b"", {}, local, SHORT))
        assert reason is OutboundReason.TIMED_OUT
        assert time.monotonic() - started < 1.8


def test_plain_http_behind_https_is_unreachable(local: OutboundPolicy) -> None:
    with serving(answering(b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        reason = reason_of(lambda: post(f"https://localhost:{port}/", b"", {}, local, SHORT))
        assert reason is OutboundReason.UNREACHABLE


def test_only_the_first_kilobytes_of_a_huge_answer_are_read(local: OutboundPolicy) -> None:
    sent: list[int] = []

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        with contextlib.suppress(OSError):
            while len(sent) < 10_000:
                connection.sendall(b"x" * 65536)
                sent.append(1)

    with serving(flood) as port:
        response = post(f"http://127.0.0.1:{port}/", b"", {}, local)
    assert len(response.body_excerpt) == 16 * 1024
    assert len(sent) < 10_000


def test_an_answer_with_a_nul_can_still_be_stored_as_text(local: OutboundPolicy) -> None:
    with serving(answering(b"HTTP/1.1 500 No\r\nRetry-After: 7\r\n\r\na\x00b\xff")) as port:
        response = post(f"http://127.0.0.1:{port}/", b"", {}, local)
    assert response.body_excerpt == "a\ufffdb\ufffd"
    assert response.retry_after == "7"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"", OutboundReason.UNREACHABLE),
        (b"SSH-2.0-OpenSSH_9.6\r\n", OutboundReason.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", OutboundReason.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n", OutboundReason.BAD_ANSWER),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            OutboundReason.BAD_ANSWER,
        ),
    ],
)
def test_what_is_not_http_is_told_apart(
    answer: bytes, reason: OutboundReason, local: OutboundPolicy
) -> None:
    with serving(answering(answer)) as port:
        assert reason_of(lambda: post(f"http://127.0.0.1:{port}/", b"", {}, local)) is reason


def test_a_refused_connection_is_unreachable_and_retryable(local: OutboundPolicy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OutboundRefusedError) as refused:
        post(f"http://127.0.0.1:{port}/", b"", {}, local)
    assert refused.value.reason is OutboundReason.UNREACHABLE
    assert refused.value.retryable


def test_a_file_is_fetched_whole(local: OutboundPolicy, tmp_path: Path) -> None:
    body = bytes(range(256)) * 1000
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 256000\r\n\r\n" + body
    with serving(answering(answer)) as port:
        fetched = fetch(f"http://127.0.0.1:{port}/a.png", local, 1_000_000, tmp_path / "a")
    assert (fetched.bytes, fetched.media_type) == (256_000, "image/png")
    assert (tmp_path / "a").read_bytes() == body


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", OutboundReason.BAD_ANSWER),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", OutboundReason.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b", OutboundReason.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", OutboundReason.BAD_ANSWER),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", OutboundReason.TOO_LARGE),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000, OutboundReason.TOO_LARGE),
    ],
)
def test_a_failed_fetch_leaves_no_file(
    answer: bytes, reason: OutboundReason, local: OutboundPolicy, tmp_path: Path
) -> None:
    with serving(answering(answer)) as port:
        url = f"http://127.0.0.1:{port}/"
        assert reason_of(lambda: fetch(url, local, 1000, tmp_path / "a")) is reason
    assert list(tmp_path.iterdir()) == []
