"""Flask-SQLAlchemy sessions: one per request, and every change inside one ``unit_of_work``."""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import Engine, event, exc
from sqlalchemy.orm import Session, scoped_session
from sqlalchemy.pool import ConnectionPoolEntry

from app.db import sqlalchemy_url

POOL_SIZE = 8  # one connection per server thread
POOL_OVERFLOW = 2
POOL_WAIT_S = 5
TRUSTED_S = 0.5  # a connection that was used this recently is taken as it is
RETURNED_AT = "returned_at"


def open_database(app: Flask, database_url: str) -> SQLAlchemy:
    """Give the app its sessions; nothing connects before the first statement."""
    app.config["SQLALCHEMY_DATABASE_URI"] = sqlalchemy_url(database_url)
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {
        "pool_size": POOL_SIZE,
        "max_overflow": POOL_OVERFLOW,
        "pool_timeout": POOL_WAIT_S,
    }
    # Only its sessions are used: the tables hang on ``app.db.Base``, which also serves the
    # processes without Flask, and which Flask-SQLAlchemy cannot adopt (it has a type map).
    database = SQLAlchemy(app, session_options={"expire_on_commit": False})
    with app.app_context():
        event.listen(database.engine, "checkin", _note_return)
        event.listen(database.engine, "checkout", _refuse_dead_connections)
    return database


def engine_of(app: Flask, database: SQLAlchemy) -> Engine:
    """The engine, also outside a request."""
    with app.app_context():
        return database.engine


@contextmanager
def unit_of_work(session: scoped_session[Any]) -> Iterator[Session]:
    """One transaction: committed at the end of the block, rolled back by an exception."""
    current: Session = session()
    with current.begin():
        yield current


def _note_return(_dbapi_connection: object, record: ConnectionPoolEntry) -> None:
    record.info[RETURNED_AT] = time.monotonic()


def _refuse_dead_connections(
    dbapi_connection: Any,  # noqa: ANN401 - a psycopg connection; SQLAlchemy leaves it untyped
    record: ConnectionPoolEntry,
    _proxy: object,
) -> None:
    """Notice a connection that the server closed while it was idle, without a round trip.

    An idle connection has nothing to read: something readable is the end of it. The pool then
    opens a new one. A ping before every use would cost a round trip for the same answer.
    """
    if time.monotonic() < record.info.get(RETURNED_AT, 0.0) + TRUSTED_S:
        return
    poller = select.poll()
    poller.register(dbapi_connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    if poller.poll(0):
        raise exc.DisconnectionError("the server closed the idle connection")
