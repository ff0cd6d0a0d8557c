"""No form of an address leads a request from the outside back to this machine."""

import socket
from dataclasses import replace
from typing import Any

import pytest
from apiflask import APIFlask

from app.api.fetching import fetcher
from app.api.services import EXTENSION, Services
from app.outbound import Limits, OutboundPolicy, connection, target
from tests.app.api.callers import Caller, Traces
from tests.app.web_server import answering, canary, picture, serving

QUICK = Limits(connect_s=1.0, total_s=1.0)
PUBLIC = "93.184.216.34"

# What names of the tests resolve to; every other name is asked of the system.
NAMES = {
    "localhost": ["127.0.0.1"],
    "loopback.test": ["127.0.0.1"],
    "loopback6.test": ["::1"],
    "mapped.test": ["::ffff:127.0.0.1"],
    "mixed.test": [PUBLIC, "127.0.0.1"],
    "nat64.test": ["64:ff9b::7f00:1"],
    "sixtofour.test": ["2002:7f00:1::"],
    "scoped.test": ["fe80::1%lo"],
    "zero.test": ["0.0.0.0"],
    "metadata.test": ["169.254.169.254"],
    "unspecified.test": ["::"],
}

# P stands for the canary's port, which is allowed here: only the address rules are in the way.
HOSTILE = (
    "https://127.0.0.1:P/",
    "https://127.0.0.2:P/",
    "https://localhost:P/",
    "https://LOCALHOST:P/",
    "https://localhost.:P/",
    "https://127.0.0.1.:P/",
    "https://2130706433:P/",
    "https://017700000001:P/",
    "https://0x7f000001:P/",
    "https://0x7f.0.0.1:P/",
    "https://0177.0.0.1:P/",
    "https://0177.0x0.0.1:P/",
    "https://127.1:P/",
    "https://127.0.1:P/",
    "https://0:P/",
    "https://0.0.0.0:P/",
    "https://00000127.0.0.1:P/",
    "https://127.000.000.001:P/",
    "https://%31%32%37.0.0.1:P/",
    "https://127%2e0%2e0%2e1:P/",
    "https://[::1]:P/",
    "https://[::]:P/",
    "https://[0:0:0:0:0:0:0:1]:P/",
    "https://[::127.0.0.1]:P/",
    "https://[::ffff:127.0.0.1]:P/",
    "https://[::ffff:7f00:1]:P/",
    "https://[64:ff9b::7f00:1]:P/",
    "https://[64:ff9b:1::127.0.0.1]:P/",
    "https://[2002:7f00:1::]:P/",
    "https://[fe80::1%25lo]:P/",
    "https://\uff11\uff12\uff17.0.0.1:P/",
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:P/",
    "https://127\u30020\u30020\u30021:P/",
    "https://\u217cocalhost:P/",
    "https://user@127.0.0.1:P/",
    "https://user:secret@127.0.0.1:P/",
    "https://example.com@127.0.0.1:P/",
    "https://example.com:443@127.0.0.1:P/",
    "https://example.com\\@127.0.0.1:P/",
    "https://127.0.0.1:P\\@example.com/",
    "https:\\\\127.0.0.1:P/",
    "https://127.0.0.1:P#@example.com/",
    "https://127.0.0.1:P?@example.com/",
    "https://127.0.\t0.1:P/",
    "https://127.0.0.1\n:P/",
    "https://127.0.0.1:P/\r\nHost: example.com",
    "https://127.0.0.1:P/\x00",
    " https://127.0.0.1:P/",
    "https:127.0.0.1:P/",
    "//127.0.0.1:P/",
    "http://127.0.0.1:P/",
    "http://loopback.test:P/",
    "ftp://127.0.0.1:P/a.png",
    "gopher://127.0.0.1:P/_GET",
    "dict://127.0.0.1:P/",
    "ldap://127.0.0.1:P/",
    "file:///etc/passwd",
    "file://127.0.0.1:P/etc/passwd",
    "jar:https://127.0.0.1:P/!/",
    "netdoc:///etc/passwd",
    "data:image/png;base64,AAAA",
    *(f"https://{name}:P/" for name in NAMES),
    "https://loopback.test.:P/",
    "https://LoopBack.TEST:P/",
)
REFUSED = {"url_not_allowed", "invalid_request"}


def resolver(host: str, port: int) -> list[str]:
    return NAMES.get(host.rstrip(".")) or target.resolve(host, port)


def install(app: APIFlask, policy: OutboundPolicy) -> None:
    kit: Services = app.extensions[EXTENSION]
    desk = replace(
        kit.desk, fetch=fetcher(policy, kit.storage.scratch, max_bytes=1_000_000, limits=QUICK)
    )
    app.extensions[EXTENSION] = replace(kit, outbound=policy, desk=desk)


def entrances(url: str) -> dict[str, dict[str, Any]]:
    """Every body in which a caller names an address for us to go to."""
    job = {"engine": "detect", "model": "builtin", "input": {"target": {"url": url}}}
    return {
        "/yolo/detect": {"image_url": url, "model": "builtin"},
        "/v1/files": {"url": url},
        "/v1/jobs": job,
        "/v1/quotes": job,
    }


def test_no_hostile_form_reaches_this_machine_by_any_entrance(
    app: APIFlask, caller: Caller, traces: Traces, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = app.extensions[EXTENSION].outbound.tls
    install(app, OutboundPolicy(tls=tls, resolver=resolver))
    before = traces.look()
    assert len(set(HOSTILE)) >= 40
    with canary() as (port, visitors):
        monkeypatch.setattr(target, "_PORTS", frozenset({443, port}))
        answers = {
            (path, url): caller.post(path, json=body)
            for form in HOSTILE
            for url in [form.replace(":P", f":{port}")]
            for path, body in entrances(url).items()
        }
        # The canary sings when it is reached: the same address, allowed by name, gets through.
        install(app, OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=tls))
        caller.post("/v1/files", json={"url": f"http://127.0.0.1:{port}/"})
        assert len(visitors) == 1
    for (path, url), answer in answers.items():
        code = answer.json["code"]
        # A NUL in JSON is refused by the strict reader, before anybody looks at the address.
        assert code in REFUSED or (code == "json_nul_character" and "\x00" in url), (path, url)
    assert traces.look() == before


def test_a_name_that_changes_its_mind_is_asked_once_and_the_checked_address_is_dialled(
    app: APIFlask, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"], ["127.0.0.1"]])
    dialled: list[str] = []

    def dial(address: tuple[str, int], **_: object) -> socket.socket:
        dialled.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(connection.socket, "create_connection", dial)
    tls = app.extensions[EXTENSION].outbound.tls
    install(app, OutboundPolicy(tls=tls, resolver=lambda *_: next(answers)))
    first = caller.post("/yolo/detect", json={"image_url": "https://flip.test/a.png"})
    assert (first.status_code, first.json["code"]) == (422, "url_unreachable")
    assert dialled == [PUBLIC]
    second = caller.post("/yolo/detect", json={"image_url": "https://flip.test/a.png"})
    assert second.json["code"] == "url_not_allowed"
    assert dialled == [PUBLIC]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_even_where_its_target_could_be_reached(
    app: APIFlask, caller: Caller, status: int
) -> None:
    tls = app.extensions[EXTENSION].outbound.tls
    install(app, OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=tls))
    with canary() as (other, visitors):
        head = f"HTTP/1.1 {status} Moved\r\nLocation: http://127.0.0.1:{other}/\r\n\r\n"
        with serving(answering(head.encode())) as port:
            url = f"http://127.0.0.1:{port}/a.png"
            answer = caller.post("/yolo/detect", json={"image_url": url})
    assert (answer.status_code, answer.json["code"]) == (422, "url_bad_answer")
    assert visitors == []


def test_an_address_that_ends_between_quote_and_job_leaves_nothing(
    app: APIFlask, caller: Caller, traces: Traces, photo: bytes
) -> None:
    """A link that was good while its price was asked for, and is over when the job comes."""
    tls = app.extensions[EXTENSION].outbound.tls
    install(app, OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=tls))
    before = traces.look()
    over = answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
    with serving(picture(photo)) as port:
        url = f"http://127.0.0.1:{port}/a.png?expires=soon"
        job = {"engine": "detect", "model": "builtin", "input": {"target": {"url": url}}}
        quoted = caller.post("/v1/quotes", json=job)
        assert quoted.status_code == 200, quoted.text
    with serving(over, port=port):
        refused = caller.post("/v1/jobs", json=job)
    assert (refused.status_code, refused.json["code"]) == (422, "url_bad_answer")
    gone = caller.post("/v1/jobs", json=job)  # nobody listens there any more
    assert (gone.status_code, gone.json["code"]) == (422, "url_unreachable")
    assert gone.json["retryable"]
    assert traces.look() == before


@pytest.mark.parametrize(
    ("server", "code"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nx", "url_too_large"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nshort", "url_bad_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlonger than it says", "unsupported_media"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n", "url_bad_answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nx", "url_bad_answer"),
        (b"HTTP/1.1 200 OK\r\n\r\nPK\x03\x04 an archive", "unsupported_media"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "empty_file"),
    ],
)
def test_a_job_on_an_address_that_lies_is_refused_and_holds_nothing(
    app: APIFlask, caller: Caller, traces: Traces, server: bytes, code: str
) -> None:
    tls = app.extensions[EXTENSION].outbound.tls
    install(app, OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}), tls=tls))
    before = traces.look()
    with serving(answering(server)) as port:
        url = f"http://127.0.0.1:{port}/a.png"
        job = {"engine": "detect", "model": "builtin", "input": {"target": {"url": url}}}
        answer = caller.post("/v1/jobs", json=job)
    assert (answer.status_code, answer.json["code"]) == (422, code)
    assert traces.look() == before
