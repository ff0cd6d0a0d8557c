"""Deliveries to a real local receiver that behaves as badly as it can."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from standardwebhooks import Webhook

from app.ids import new_id
from app.outbound import Limits
from app.webhooks.events import EventType
from app.webhooks.service import record_event
from app.webhooks.signing import new_secret
from app.webhooks.subscription import create_endpoint, endpoints, sealed_webhook_secret
from tests.workers.miniature import Platform
from workers.deliver import drain

SECRET = new_secret()
LIMITS = Limits(connect_s=1.0, total_s=1.0)


class Receiver(ThreadingHTTPServer):
    """Answers each POST as its path says and keeps what came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, dict[str, str], bytes]] = []
        self.released = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"

    def paths(self) -> list[str]:
        return [path for path, _, _ in self.received]


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.path, dict(self.headers), body))
        behaviour = self.path.strip("/").split("/")[0]
        if behaviour == "hang":
            self.server.released.wait(5)
        elif behaviour == "drip":
            self._drip()
        elif behaviour == "redirect":
            self._answer(302, {"Location": self.server.url("/ok")})
        elif behaviour == "later":
            self._answer(429, {"Retry-After": "600"})
        elif behaviour == "drop":
            self.connection.close()
        else:
            self._answer(200 if behaviour == "ok" else int(behaviour), {})

    def do_GET(self) -> None:
        self.server.received.append(("GET " + self.path, {}, b""))
        self._answer(200, {})

    def _drip(self) -> None:
        self.wfile.write(b"HTTP/1.1 200 OK\r\n")
        for _ in range(50):
            if self.server.released.wait(0.1):
                return
            self.wfile.write(b"X")

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    server = Receiver()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


def book(platform: Platform, url: str) -> None:
    with platform.sessions.begin() as session:
        record_event(
            session,
            tenant_id=platform.tenant,
            event=EventType.JOB_SUCCEEDED,
            data={"id": "job_1"},
            at=datetime.now(UTC),
            job_id=new_id("job"),
            job_webhook={
                "url": url,
                "events": [],
                "secret": sealed_webhook_secret(platform.services.box, SECRET),
            },
        )


def send(platform: Platform) -> int:
    return drain(platform.services, limits=LIMITS, jitter=lambda: 0.0)


def delivery(platform: Platform) -> dict[str, Any]:
    return platform.row(
        "SELECT d.*, a.status_code, a.error, extract(epoch FROM"
        " d.next_attempt_at - clock_timestamp())::float AS wait_s FROM webhook_delivery d"
        " JOIN webhook_attempt a ON a.delivery_id = d.id AND a.number = d.attempts"
    )


def test_a_delivery_arrives_signed_and_once(platform: Platform, receiver: Receiver) -> None:
    book(platform, receiver.url("/ok"))
    assert send(platform) == 1
    ((_, headers, body),) = receiver.received
    event = Webhook(SECRET).verify(body, {name.lower(): headers[name] for name in headers})
    assert event == json.loads(body)
    row = delivery(platform)
    assert (row["status"], row["status_code"], row["attempts"]) == ("delivered", 200, 1)
    assert headers["webhook-id"] == row["id"]
    assert send(platform) == 0


def test_a_retry_keeps_the_id_and_signs_anew(platform: Platform, receiver: Receiver) -> None:
    book(platform, receiver.url("/500"))
    send(platform)
    platform.change("UPDATE webhook_delivery SET next_attempt_at = clock_timestamp()")
    time.sleep(1.1)
    send(platform)
    (_, first, _), (_, second, _) = receiver.received
    assert first["webhook-id"] == second["webhook-id"]
    assert int(first["webhook-timestamp"]) < int(second["webhook-timestamp"])
    assert first["webhook-signature"] != second["webhook-signature"]


@pytest.mark.parametrize("path", ["/hang", "/drip"])
def test_a_receiver_that_hangs_or_drips_costs_one_deadline(
    platform: Platform, receiver: Receiver, path: str
) -> None:
    book(platform, receiver.url(path))
    started = time.monotonic()
    assert send(platform) == 1
    assert time.monotonic() - started < 2.5
    row = delivery(platform)
    assert (row["status"], row["status_code"]) == ("pending", None)
    assert "within 1 s" in row["error"]
    assert row["wait_s"] == pytest.approx(5, abs=1)


def test_a_redirect_is_not_followed(platform: Platform, receiver: Receiver) -> None:
    book(platform, receiver.url("/redirect"))
    send(platform)
    assert receiver.paths() == ["/redirect"]
    assert delivery(platform)["status_code"] == 302


def test_a_busy_receiver_is_called_when_it_asks(platform: Platform, receiver: Receiver) -> None:
    book(platform, receiver.url("/later"))
    send(platform)
    assert delivery(platform)["wait_s"] == pytest.approx(600, abs=5)


def test_a_receiver_that_commits_and_drops_the_connection_is_called_again(
    platform: Platform, receiver: Receiver
) -> None:
    book(platform, receiver.url("/drop"))
    send(platform)
    assert delivery(platform)["status"] == "pending"
    assert receiver.paths() == ["/drop"]


def test_an_endpoint_that_is_gone_is_disabled(platform: Platform, receiver: Receiver) -> None:
    with platform.sessions.begin() as session:
        create_endpoint(
            session,
            box=platform.services.box,
            policy=platform.services.outbound,
            tenant_id=platform.tenant,
            url=receiver.url("/410"),
            events=[],
        )
    book(platform, receiver.url("/ok"))
    book(platform, receiver.url("/ok/2"))
    send(platform)
    assert receiver.paths().count("/410") == 1
    with platform.sessions() as session:
        (endpoint,) = endpoints(session, tenant_id=platform.tenant)
    assert not endpoint.enabled


def test_a_private_address_is_never_called(platform: Platform, receiver: Receiver) -> None:
    book(platform, receiver.url("/ok").replace("127.0.0.1", "localhost"))
    send(platform)
    assert receiver.received == []
    row = delivery(platform)
    assert row["status"] == "pending"
    assert "https" in row["error"]


def test_a_hanging_receiver_delays_no_other(platform: Platform, receiver: Receiver) -> None:
    for number in range(3):
        book(platform, receiver.url(f"/hang/{number}"))
    senders = [threading.Thread(target=send, args=(platform,)) for _ in range(3)]
    for sender in senders[:2]:
        sender.start()
    deadline = time.monotonic() + 5
    while len(receiver.received) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with platform.sessions.begin() as session:
        create_endpoint(
            session,
            box=platform.services.box,
            policy=platform.services.outbound,
            tenant_id=platform.tenant,
            url=receiver.url("/ok"),
            events=["test"],
        )
    with platform.sessions.begin() as session:
        record_event(
            session,
            tenant_id=platform.tenant,
            event=EventType.TEST,
            data={},
            at=datetime.now(UTC),
        )
    senders[2].start()
    while "/ok" not in receiver.paths():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    receiver.released.set()
    for sender in senders:
        sender.join(10)
