"""Where the way out does not lead: addresses, URLs, and names that resolve to them."""

import ssl

import pytest

from app.outbound import (
    OutboundPolicy,
    OutboundReason,
    check_url,
    is_public,
    post,
)
from tests.app.outbound.conftest import HERE, reason_of
from tests.app.web_server import answering, serving


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


def resolving_to(*addresses: str, tls: ssl.SSLContext) -> OutboundPolicy:
    return OutboundPolicy(tls=tls, resolver=lambda _host, _port: addresses)


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
