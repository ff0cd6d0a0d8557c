"""How much waits: jobs in PostgreSQL, the truth; messages in Redis, the hints."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import redis

from app.jobs.states import PRIORITY_LEVELS
from app.local.errors import AddressError
from app.local.processes import every_queue

ACTIVE = ("queued", "starting", "processing", "finalizing")


@dataclass(frozen=True, slots=True)
class Depths:
    """What waits at one moment."""

    jobs: Mapping[str, int]  # by status, of those that have not ended
    oldest_queued_s: float | None
    unsettled: int  # ended jobs whose price is not final
    deliveries_due: int
    queues: Mapping[str, int | None]  # messages by Celery queue; None: Redis does not answer


def read_depths(database_url: str, redis_url: str, *, outside: Sequence[Path] = ()) -> Depths:
    """Ask both stores.

    Raises:
        AddressError: the database does not answer.
    """
    try:
        counts, one = _ask_database(database_url)
    except psycopg.OperationalError as error:
        message = f"PostgreSQL does not answer, so nothing is known about jobs: {error}"
        raise AddressError(message) from error
    oldest, unsettled, due = one if one is not None else (None, 0, 0)
    return Depths(
        jobs={status: counts.get(status, 0) for status in ACTIVE},
        oldest_queued_s=oldest,
        unsettled=int(unsettled),
        deliveries_due=int(due),
        queues=_queue_lengths(redis_url, every_queue(outside)),
    )


def _ask_database(database_url: str) -> tuple[dict[str, int], tuple[Any, ...] | None]:
    with psycopg.connect(database_url, connect_timeout=3) as connection:
        found = connection.execute(
            "SELECT status, count(*) FROM job WHERE status = ANY(%s) GROUP BY status",
            (list(ACTIVE),),
        ).fetchall()
        one = connection.execute(
            """
            SELECT extract(epoch FROM clock_timestamp() - min(created_at))::float8,
              (SELECT count(*) FROM job WHERE finished_at IS NOT NULL AND settled_at IS NULL),
              (SELECT count(*) FROM webhook_delivery
               WHERE status = 'pending' AND next_attempt_at <= clock_timestamp())
            FROM job WHERE status = 'queued'
            """
        ).fetchone()
    return {str(status): int(number) for status, number in found}, one


def _queue_lengths(redis_url: str, queues: Sequence[str]) -> Mapping[str, int | None]:
    client = redis.Redis.from_url(redis_url, socket_timeout=2, socket_connect_timeout=2)
    try:
        return {queue: _length(client, queue) for queue in queues}
    except redis.RedisError:
        return dict.fromkeys(queues)
    finally:
        client.close()


def _length(client: redis.Redis, queue: str) -> int:
    # One list per priority: the plain name is priority 0, the others carry their number.
    lists = [queue if level == 0 else f"{queue}:{level}" for level in PRIORITY_LEVELS.values()]
    return sum(int(client.llen(name)) for name in lists)
