"""One dispatcher works, the others wait: a PostgreSQL advisory lock and the ear of the leader."""

import contextlib
from collections.abc import Iterator
from enum import StrEnum

import psycopg
from sqlalchemy.engine import make_url

# Any 64-bit number will do; it only has to be ours.
LEADER_LOCK = 7110264150


class Channel(StrEnum):
    """What PostgreSQL wakes the dispatcher for."""

    JOBS = "pixelmeter_jobs"  # a job was queued, again or for the first time; a worker came up
    USAGE = "pixelmeter_usage"  # a job ended: a slot is free and its usage waits for settlement
    DELIVERIES = "pixelmeter_deliveries"  # webhook deliveries were booked


EVERYTHING = frozenset(Channel)


class Leader:
    """Holds the lock for as long as its connection lives, and hears notifications over it."""

    def __init__(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        self._connection = connection

    def wait(self, timeout_s: float) -> frozenset[Channel]:
        """Return what was notified, at once when something was, else empty after ``timeout_s``.

        Raises:
            psycopg.OperationalError: the connection, and with it the lock, is gone.
        """
        first = list(self._connection.notifies(timeout=timeout_s, stop_after=1))
        rest = list(self._connection.notifies(timeout=0)) if first else []
        return frozenset(Channel(notify.channel) for notify in (*first, *rest))


@contextlib.contextmanager
def try_to_lead(database_url: str) -> Iterator[Leader | None]:
    """Open a connection and try to become the leader; None when another process is.

    Raises:
        psycopg.OperationalError: the database is away.
    """
    with psycopg.connect(
        plain_url(database_url),
        autocommit=True,
        application_name="pixelmeter-dispatcher",
        # A leader cut off from the network must lose its lock, not hold it for hours.
        keepalives=1,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
    ) as connection:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()
        if row is None or not row[0]:
            yield None
            return
        for channel in Channel:
            connection.execute(f"LISTEN {channel.value}")
        yield Leader(connection)


def plain_url(database_url: str) -> str:
    """The address without the name of SQLAlchemy's driver, as psycopg itself takes it."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
