"""Keeps the messages of running tasks invisible to other workers.

Kombu gives an unacknowledged message back to the queue when its entry in a sorted set is older
than the visibility timeout. A short timeout returns the messages of a dead worker soon, and would
run a long job twice. So a thread in the worker's main process refreshes the entries of the tasks
this process holds; the thread dies with the process, and only then do they age.

This is the one module that touches kombu's private bookkeeping; a contract test holds it against
the pinned kombu. It uses the channel's own client and key name, so ``global_keyprefix`` and a
renamed index are honoured. The database's lease, not this one, decides who may write results.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

log = logging.getLogger(__name__)

# A wedged task must not hide its message for ever: without a time limit of its own it gets this.
DEFAULT_BOUND_S = 6 * 3600.0
GRACE_S = 120.0


class HeldMessage(Protocol):
    """What is read of a kombu message."""

    delivery_tag: str


class HeldRequest(Protocol):
    """What is read of a ``celery.worker.request.Request``."""

    message: HeldMessage
    time_limits: Sequence[float | None]  # hard, soft; in seconds


class RedisChannel(Protocol):
    """What is used of a ``kombu.transport.redis.Channel``."""

    unacked_index_key: str

    def conn_or_acquire(self) -> AbstractContextManager[Any]:
        """A client that adds the channel's key prefix by itself."""


class BrokerConnection(Protocol):
    """What is used of a ``kombu.Connection``."""

    default_channel: RedisChannel


class HeldMessages:
    """Which messages to refresh, and how long each may be held. Time is monotonic seconds."""

    def __init__(self) -> None:
        self._held_since: dict[str, float] = {}

    def to_refresh(self, requests: Iterable[HeldRequest], *, now: float) -> list[str]:
        """The delivery tags of the given Celery requests that are still inside their bound."""
        bounds = {str(request.message.delivery_tag): _bound_s(request) for request in requests}
        self._held_since = {tag: self._held_since.get(tag, now) for tag in bounds}
        return [tag for tag, bound in bounds.items() if now - self._held_since[tag] <= bound]


def _bound_s(request: HeldRequest) -> float:
    hard_limit = request.time_limits[0]
    return DEFAULT_BOUND_S if hard_limit is None else float(hard_limit) + GRACE_S


def refresh(channel: RedisChannel, tags: list[str], *, now: float) -> None:
    """Stamp the entries of messages that are still unacknowledged (``XX``: never create one).

    Args:
        channel: open, and used by this thread alone.
        tags: delivery tags.
        now: unix seconds; kombu compares them with its own ``time.time()``.
    """
    if tags:
        with channel.conn_or_acquire() as client:
            client.zadd(channel.unacked_index_key, dict.fromkeys(tags, now), xx=True)


class VisibilityThread(threading.Thread):
    """Refreshes every ``interval_s`` until the process ends, warm shutdown included.

    Args:
        connect: opens a broker connection of this thread's own.
        requests: the Celery requests that this process has taken and not finished.
        interval_s: at most a quarter of the visibility timeout.
    """

    def __init__(
        self,
        connect: Callable[[], BrokerConnection],
        requests: Callable[[], Iterable[HeldRequest]],
        *,
        interval_s: float,
    ) -> None:
        super().__init__(name="visibility-lease", daemon=True)
        self._connect = connect
        self._requests = requests
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._messages = HeldMessages()

    def end(self) -> None:
        """Stop refreshing; the thread ends at once."""
        self._ended.set()

    def run(self) -> None:
        """Refresh until ended; a broker that is away is tried again at the next turn."""
        connection: BrokerConnection | None = None
        while not self._ended.wait(self._interval_s):
            try:
                connection = connection or self._connect()
                self._turn(connection.default_channel)
            except Exception:  # the thread has to outlive whatever the broker does
                log.warning("cannot keep messages invisible; trying again", exc_info=True)
                connection = None

    def _turn(self, channel: RedisChannel) -> None:
        tags = self._messages.to_refresh(snapshot(self._requests), now=time.monotonic())
        refresh(channel, tags, now=time.time())


def snapshot(requests: Callable[[], Iterable[HeldRequest]]) -> list[HeldRequest]:
    """Copy a set that the worker's main thread changes while it is read."""
    while True:
        try:
            return list(requests())
        except RuntimeError:  # the set changed during iteration: read it again
            continue
