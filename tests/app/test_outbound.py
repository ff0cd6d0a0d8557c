"""The way out: what is refused, and what a hostile server cannot do."""

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
    check_url,
    fetch,
    is_public,
    post,
)
from tests.app.web_server import answering, serving

SHORT = Limits(connect_s=1.0, total_s=1.0)
HERE = frozenset({"127.0.0.1", "localhost", "hooks.test"})


@pytest.fixture(scope="module")
def tls() -> ssl.SSLContext:
    return ssl.create_default_context()


@pytest.fixture
def strict(tls: ssl.SSLContext) -> OutboundPolicy:
    return OutboundPolicy(tls=tls)


@pytest.fixture
def local(tls: ssl.SSLContext) -> OutboundPolicy:
    return OutboundPolicy(allow_hosts=HERE, tls=tls)


def resolving_to(*addresses: str, tls: ssl.SSLContext) -> OutboundPolicy:
    return OutboundPolicy(tls=tls, resolver=lambda _host, _port: addresses)


def reason_of(call: Callable[[], object]) -> OutboundReason:
    with pytest.raises(OutboundRefusedError) as refused:
        call()
    assert refused.value.code == refused.value.reason.value
    assert refused.value.status == 422
    return refused.value.reason


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b:1::7f00:1",
        "100::1",
        "2001::1",
        "2001:10::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "localhost",
        "127.1",
        "2130706433",
        "0x7f000001",
        "",
    ],
)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "2606:4700::1111"])
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://@example.com/",
        "https://example.com:80/",
        "https://example.com:8080/",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://example.com:abc/",
        "https://good.com\\@127.0.0.1/",
        "https://good.com\\.evil.com/",
        "https://exa\tmple.com/",
        "https://exa\nmple.com/",
        "https://example.com/\r\nX: y",
        "https://example.com/\x00",
        " https://example.com/",
        "https://example.com/ a",
        "https://ex\u00e4mple.com/",
        "https://\u2460\u2461\u2466.0.0.1/",
        "https://127\u30020\u30020\u30021/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://017700000001/",
        "https://1.2.3.4.5/",
        "https://256.1.1.1/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[not-an-address]/",
        "https://exam ple.com/",
        "https://-/",
        "https://a..b/",
        "https://" + "a" * 300 + ".com/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_urls_of_bad_form_are_refused_without_network(url: str, strict: OutboundPolicy) -> None:
    assert reason_of(lambda: check_url(url, strict)) is OutboundReason.NOT_ALLOWED


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("https://example.com", "example.com", 443),
        ("https://EXAMPLE.com/a?b=c#d", "example.com", 443),
        ("https://hooks.example.com:8443/x", "hooks.example.com", 8443),
        ("https://xn--exmple-cua.com/", "xn--exmple-cua.com", 443),
        ("https://8.8.8.8/", "8.8.8.8", 443),
        ("https://[2606:4700::1111]/", "2606:4700::1111", 443),
    ],
)
def test_urls_of_good_form_pass(url: str, host: str, port: int, strict: OutboundPolicy) -> None:
    target = check_url(url, strict)
    assert (target.host, target.port) == (host, port)


def test_a_fragment_is_not_sent(strict: OutboundPolicy) -> None:
    assert check_url("https://example.com/a?b=c#d", strict).path == "/a?b=c"


@pytest.mark.parametrize(
    "url",
    [
        "https://localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/latest/meta-data/",
        "https://100.100.100.200/",
        "https://10.0.0.1:8443/",
    ],
)
def test_private_addresses_are_refused_by_what_they_resolve_to(
    url: str, strict: OutboundPolicy
) -> None:
    assert reason_of(lambda: post(url, b"{}", {}, strict)) is OutboundReason.NOT_ALLOWED


def test_one_private_answer_among_public_ones_is_enough_to_refuse(tls: ssl.SSLContext) -> None:
    policy = resolving_to("93.184.216.34", "127.0.0.1", tls=tls)
    refused = reason_of(lambda: post("https://rebind.test/", b"", {}, policy))
    assert refused is OutboundReason.NOT_ALLOWED


def test_the_name_is_resolved_once_and_the_checked_address_is_used(tls: ssl.SSLContext) -> None:
    asked: list[str] = []

    def rebinding(host: str, _port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    policy = OutboundPolicy(allow_hosts=HERE, tls=tls, resolver=rebinding)
    with serving(answering(b"HTTP/1.1 204 No Content\r\n\r\n")) as port:
        assert post(f"http://hooks.test:{port}/", b"{}", {}, policy).status == 204
    assert asked == ["hooks.test"]


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
