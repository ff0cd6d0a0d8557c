"""The visibility lease against a real Redis and the pinned kombu."""

import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace

import pytest
from kombu import Connection, Queue
from kombu.message import Message

from tests.workers.redis_server import RedisServer
from workers.configuration import TRANSPORT_OPTIONS, broker_url
from workers.lease import GRACE_S, HeldMessages, VisibilityThread, refresh, snapshot


def request(tag: str, hard_limit: float | None = None) -> SimpleNamespace:
    return SimpleNamespace(
        message=SimpleNamespace(delivery_tag=tag), time_limits=(hard_limit, None)
    )


def test_messages_are_refreshed_while_they_are_held() -> None:
    held = HeldMessages()
    assert held.to_refresh([request("a"), request("b")], now=0.0) == ["a", "b"]
    assert held.to_refresh([request("b")], now=10_000.0) == ["b"]
    assert held.to_refresh([], now=10_001.0) == []


def test_a_wedged_task_hides_its_message_no_longer_than_its_time_limit() -> None:
    held = HeldMessages()
    assert held.to_refresh([request("a", 60.0)], now=0.0) == ["a"]
    assert held.to_refresh([request("a", 60.0)], now=60.0 + GRACE_S) == ["a"]
    assert held.to_refresh([request("a", 60.0)], now=61.0 + GRACE_S) == []


def test_a_set_that_changes_while_it_is_read_is_read_again() -> None:
    answers = iter([RuntimeError("changed size"), [request("a")]])

    def requests() -> list[SimpleNamespace]:
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    assert len(snapshot(requests)) == 1


@pytest.fixture
def connection(redis_server: RedisServer) -> Iterator[Connection]:
    """A broker connection with a short visibility timeout and a key prefix."""
    options = {**TRANSPORT_OPTIONS, "visibility_timeout": 1, "global_keyprefix": "pm:"}
    with Connection(broker_url(redis_server.url), transport_options=options) as connection:
        yield connection


def take(connection: Connection, queue: Queue) -> Message:
    consumer_channel = connection.channel()
    message = queue(consumer_channel).get()
    assert message is not None
    return message


def test_a_refreshed_message_is_not_restored_and_an_aged_one_is(
    connection: Connection, redis_server: RedisServer
) -> None:
    """The contract with kombu: entries of this index, by this key, decide what is restored."""
    queue = Queue("contract", no_declare=False)
    producer = connection.Producer()
    for body in ("kept", "aged"):
        producer.publish({"body": body}, routing_key="contract", declare=[queue])
    kept, aged = take(connection, queue), take(connection, queue)
    client = redis_server.client()
    assert {key.decode() for key in client.keys("*unacked_index")} == {"pm:unacked_index"}
    assert client.zcard("pm:unacked_index") == 2

    client.zadd("pm:unacked_index", dict.fromkeys([kept.delivery_tag, aged.delivery_tag], 1.0))
    refresh(connection.default_channel, [kept.delivery_tag], now=time.time())
    kept.channel.qos.restore_visible(num=100, interval=1)

    assert client.zrange("pm:unacked_index", 0, -1) == [kept.delivery_tag.encode()]
    returned = take(connection, queue)
    assert returned.payload == {"body": "aged"}


def test_an_acknowledged_message_is_not_brought_back(
    connection: Connection, redis_server: RedisServer
) -> None:
    queue = Queue("acked", no_declare=False)
    connection.Producer().publish({}, routing_key="acked", declare=[queue])
    message = take(connection, queue)
    message.ack()
    refresh(connection.default_channel, [message.delivery_tag], now=time.time())
    assert redis_server.client().zcard("pm:unacked_index") == 0


def test_the_thread_refreshes_until_it_is_ended(
    connection: Connection, redis_server: RedisServer
) -> None:
    queue = Queue("thread", no_declare=False)
    connection.Producer().publish({}, routing_key="thread", declare=[queue])
    message = take(connection, queue)
    client = redis_server.client()
    client.zadd("pm:unacked_index", {message.delivery_tag: 1.0})
    thread = VisibilityThread(
        connection.clone, lambda: [request(message.delivery_tag)], interval_s=0.05
    )
    thread.start()
    deadline = time.monotonic() + 5
    while client.zscore("pm:unacked_index", message.delivery_tag) == 1.0:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    thread.end()
    thread.join(5)
    assert not thread.is_alive()


def test_the_thread_outlives_a_broker_that_is_away(redis_server: RedisServer) -> None:
    calls: list[float] = []

    def refuse() -> Connection:
        calls.append(time.monotonic())
        raise ConnectionError("away")

    thread = VisibilityThread(refuse, list, interval_s=0.02)
    thread.start()
    deadline = time.monotonic() + 5
    while len(calls) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    thread.end()
    thread.join(5)
    with closing(redis_server.client()) as client:
        assert client.ping()
