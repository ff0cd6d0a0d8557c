"""When the platform may be called ready: it answers, and somebody takes jobs up."""

import http.client
from datetime import datetime
from http import HTTPStatus

import psycopg

from app.local.ports import LOOPBACK

ANSWER_TIMEOUT_S = 3.0


def api_answers(port: int) -> bool:
    """Whether the API says that its database, migrations and storage are in order."""
    return _answer(port, "/readyz") == HTTPStatus.OK


def comfyui_answers(port: int) -> bool:
    """Whether the port for clients of ComfyUI reaches its database, were it to refuse its key."""
    status = _answer(port, "/prompt")
    return status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR


def _answer(port: int, path: str) -> int | None:
    """The status of an answer; None where nobody gives one."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_TIMEOUT_S)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def database_now(database_url: str) -> datetime:
    """The database's clock, which stamps heartbeats and leases."""
    with psycopg.connect(database_url, connect_timeout=2) as connection:
        row = connection.execute("SELECT clock_timestamp()").fetchone()
    if row is None:
        raise psycopg.OperationalError("the database did not tell the time")
    moment: datetime = row[0]
    return moment


def gpu_workers_alive(database_url: str, *, since: datetime) -> int:
    """How many GPU workers have said that they are alive since ``since`` (database's clock)."""
    with psycopg.connect(database_url, connect_timeout=2) as connection:
        row = connection.execute(
            "SELECT count(*) FROM worker_heartbeat WHERE seen_at >= %s", (since,)
        ).fetchone()
    return 0 if row is None else int(row[0])


def dispatcher_leads(database_url: str) -> bool:
    """Whether a dispatcher is connected and holds the leader's lock."""
    query = """
        SELECT count(*) FROM pg_stat_activity AS session JOIN pg_locks AS held USING (pid)
        WHERE session.application_name = 'pixelmeter-dispatcher'
          AND held.locktype = 'advisory' AND held.granted
    """
    with psycopg.connect(database_url, connect_timeout=2) as connection:
        row = connection.execute(query).fetchone()
    return row is not None and int(row[0]) > 0
