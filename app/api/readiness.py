"""Whether this process can do its work, by asking everything it depends on.

PostgreSQL, its migrations and the file storage are needed to accept a job. The broker is not: jobs
wait in PostgreSQL until it returns, so without it the process is ready and ``degraded``.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import redis
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from app.storage import Storage

CHECK_TTL_S = 1.0  # probes and load balancers ask often; an answer is this old at most
REDIS_TIMEOUT_S = 0.5
MIGRATIONS = Path(__file__).resolve().parents[2] / "alembic"

# A transactional WAL message is a real write, commit and flush that needs no table.
WRITE_CHECK = text("SELECT pg_logical_emit_message(true, 'pixelmeter.ready', '')")
REVISIONS = text("SELECT version_num FROM alembic_version")

logger = logging.getLogger("pixelmeter.api")


class NotReadyError(Exception):
    """Raised by a check; the sentence says what to do."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the checks said: ``ok`` or a sentence, by name."""

    ready: bool
    degraded: bool
    checks: Mapping[str, str]


@dataclass(slots=True)
class Readiness:
    """Runs the checks at most once per ``CHECK_TTL_S`` in this process."""

    needed: Mapping[str, Callable[[], None]]
    wanted: Mapping[str, Callable[[], None]]
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _last: tuple[float, Report] | None = None

    def report(self) -> Report:
        """Return what the checks say now."""
        with self._lock:
            now = self.clock()
            if self._last is None or now >= self._last[0] + CHECK_TTL_S:
                self._last = (now, self._check())
            return self._last[1]

    def _check(self) -> Report:
        needed = {name: _outcome(name, check) for name, check in self.needed.items()}
        wanted = {name: _outcome(name, check) for name, check in self.wanted.items()}
        return Report(
            ready=all(outcome == "ok" for outcome in needed.values()),
            degraded=any(outcome != "ok" for outcome in wanted.values()),
            checks=needed | wanted,
        )


def _outcome(name: str, check: Callable[[], None]) -> str:
    try:
        check()
    except NotReadyError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - any failure is a finding; details go to the log
        logger.warning("readiness check %s failed: %s", name, error)
        return f"failed: {type(error).__name__}; see the log of this process"
    return "ok"


def database_check(engine: Engine) -> Callable[[], None]:
    """PostgreSQL takes a write."""

    def check() -> None:
        with engine.begin() as connection:
            connection.execute(WRITE_CHECK)

    return check


def migrations_check(engine: Engine) -> Callable[[], None]:
    """The database stands at the newest revision that this code knows."""
    heads = frozenset(ScriptDirectory(str(MIGRATIONS)).get_heads())

    def check() -> None:
        with engine.connect() as connection:
            found = frozenset(connection.execute(REVISIONS).scalars())
        if found != heads:
            standing = ", ".join(sorted(found)) or "nothing"
            message = f"the database stands at {standing}: run `python -m alembic upgrade head`"
            raise NotReadyError(message)

    return check


def storage_check(storage: Storage) -> Callable[[], None]:
    """The storage takes bytes."""
    return storage.check


def broker_check(redis_url: str | None) -> Callable[[], None]:
    """Redis answers a ping."""
    client = (
        redis.Redis.from_url(
            redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
        if redis_url
        else None
    )

    def check() -> None:
        if client is None:
            raise NotReadyError("REDIS_URL is not set: jobs are accepted but nothing starts them")
        client.ping()

    return check
