"""Putting ids on the broker, and living with a broker that is away.

A message is only a hint: the job is in the database. So publishing may fail at any time; what was
not published is found again there.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from celery import Celery
from kombu.exceptions import KombuError, OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from app.settings import Settings
from workers.configuration import create_celery
from workers.routing import TaskName

log = logging.getLogger(__name__)

PROBE_TIMEOUT_S = 1.0
PUBLISH_TIMEOUT_S = 3.0
BACKOFF_MIN_S = 0.25
BACKOFF_MAX_S = 5.0


class BrokerDownError(Exception):
    """Raised when the broker did not take a message or did not answer; trying later helps."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to one queue."""

    task: TaskName
    queue: str
    args: tuple[str, ...] = ()
    task_id: str | None = None
    priority: int = 0
    time_limit_s: float | None = None  # after it a wedged task's process is killed


class Broker(Protocol):
    """What the dispatcher needs of a broker. Both calls raise ``BrokerDownError``."""

    def send(self, message: Message) -> None:
        """Publish one message."""

    def depth(self, queue: str) -> int:
        """How many messages wait in a queue, taken ones not counted."""


class CeleryBroker:
    """Publishes through Celery, with timeouts short enough for a loop that has other duties."""

    def __init__(self, settings: Settings) -> None:
        self._celery = publisher(settings)
        self._probe = Redis.from_url(
            settings.require_redis_url(),
            socket_timeout=PROBE_TIMEOUT_S,
            socket_connect_timeout=PROBE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        self._outage = Outage(time.monotonic)

    def send(self, message: Message) -> None:
        """See ``Broker.send``."""
        self._guarded(lambda: self._publish(message))

    def depth(self, queue: str) -> int:
        """See ``Broker.depth``."""
        return self._guarded(lambda: self._count(queue))

    def close(self) -> None:
        """Close the connections."""
        self._probe.close()
        self._celery.close()

    def _publish(self, message: Message) -> int:
        self._celery.send_task(
            message.task.value,
            args=list(message.args),
            queue=message.queue,
            task_id=message.task_id,
            priority=message.priority,
            time_limit=message.time_limit_s,
            ignore_result=True,
            retry=False,
        )
        return 1

    def _count(self, queue: str) -> int:
        with self._celery.producer_pool.acquire(block=True, timeout=PUBLISH_TIMEOUT_S) as producer:
            return int(producer.channel.queue_declare(queue=queue).message_count)

    def _guarded(self, call: Callable[[], int]) -> int:
        if self._outage.is_on:
            self._look_again()
        try:
            return call()
        except (KombuError, OperationalError, RedisError, OSError) as error:
            self._outage.began(error)
            raise BrokerDownError(str(error)) from error

    def _look_again(self) -> None:
        """Ask cheaply first: redis-py retries a refused connection for six seconds by itself."""
        if not self._outage.may_try():
            raise BrokerDownError("the broker was away a moment ago")
        try:
            self._probe.ping()
        except (RedisError, OSError) as error:
            self._outage.went_on()
            raise BrokerDownError(str(error)) from error
        self._outage.ended()


class Outage:
    """Whether the broker is away, when to look again, and one log line at each end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None
        self._wait_s = BACKOFF_MIN_S
        self._next_try = 0.0

    @property
    def is_on(self) -> bool:
        """Whether the last call found the broker away."""
        return self._since is not None

    def began(self, error: Exception) -> None:
        """Note a failure; only the first one of an outage is logged."""
        if self._since is None:
            self._since = self._clock()
            self._wait_s = BACKOFF_MIN_S
            log.warning("the broker is away, jobs wait in the database: %s", error)
        self._next_try = self._clock() + self._wait_s

    def may_try(self) -> bool:
        """Whether enough time has passed to look again."""
        return self._clock() >= self._next_try

    def went_on(self) -> None:
        """Wait twice as long before the next look, up to a limit."""
        self._wait_s = min(self._wait_s * 2, BACKOFF_MAX_S)
        self._next_try = self._clock() + self._wait_s

    def ended(self) -> None:
        """Note that the broker answers again."""
        if self._since is not None:
            log.warning("the broker is back after %.1f s", self._clock() - self._since)
        self._since = None


def publisher(settings: Settings) -> Celery:
    """A Celery application that only publishes, and never waits long for it."""
    celery = create_celery(settings)
    celery.conf.broker_transport_options = {
        **celery.conf.broker_transport_options,
        "socket_timeout": PUBLISH_TIMEOUT_S,
        "socket_connect_timeout": PROBE_TIMEOUT_S,
    }
    return celery


class RecordingBroker:
    """A broker in memory for tests: keeps what was sent, and can be away."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.is_down = False

    def send(self, message: Message) -> None:
        """Keep the message, or be away."""
        if self.is_down:
            raise BrokerDownError("the broker is down")
        self.sent.append(message)

    def depth(self, queue: str) -> int:
        """Everything that was sent and not taken from ``sent``."""
        if self.is_down:
            raise BrokerDownError("the broker is down")
        return sum(message.queue == queue for message in self.sent)
