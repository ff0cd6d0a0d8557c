"""The relational ground: declarative base, engine and transactions for processes without Flask.

PostgreSQL through psycopg 3 is the only dialect. Nothing connects at import.
"""

import re
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import DateTime, Engine, MetaData, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import make_url
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

CONSTRAINT_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Parent of every table the app owns; money has its own metadata in ``billing.tables``."""

    metadata = MetaData(naming_convention=CONSTRAINT_NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: DateTime(timezone=True),
        # None is SQL NULL, never the JSON word null: IS NULL must mean the same in SQL and Python.
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: JSONB(none_as_null=True),
    }


def sqlalchemy_url(database_url: str) -> str:
    """Name the psycopg 3 driver in a plain ``postgresql://`` address."""
    url = make_url(database_url)
    if url.drivername in {"postgres", "postgresql"}:
        url = url.set(drivername="postgresql+psycopg")
    return url.render_as_string(hide_password=False)


def open_engine(
    database_url: str, *, pool_size: int = 5, pre_ping: bool = True, relaxed_commit: bool = False
) -> Engine:
    """Create a pooled engine.

    Args:
        database_url: where; a plain ``postgresql://`` address is fine.
        pool_size: connections that are kept open.
        pre_ping: ask a connection whether it lives before each use. Without it a transaction may
            fail after a restart of the database, and its caller has to repeat it.
        relaxed_commit: commits return before they are on disk. Only for what may be lost in a
            crash of the database server, never for money or for what a caller was promised.
    """
    url = make_url(sqlalchemy_url(database_url))
    if relaxed_commit:
        url = url.update_query_dict({"options": "-c synchronous_commit=off"})
    return create_engine(url, pool_size=pool_size, max_overflow=2, pool_pre_ping=pre_ping)


def as_driver_sql(statement: str) -> str:
    """Constant SQL with ``:name`` parameters in psycopg's own style, for ``exec_driver_sql``.

    It saves SQLAlchemy's compilation and parameter handling on the hottest statements.
    """
    return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", statement)


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Sessions whose unit of work is ``with factory.begin() as session``."""
    return sessionmaker(engine, expire_on_commit=False)
