"""A wallet to play with."""

import uuid
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.db import open_engine
from billing.cards import publish_catalogue
from billing.wallets import open_wallet
from tests.billing.till import NOW, Till


@pytest.fixture(scope="session")
def shared_engine(postgres_url: str, template_database: str) -> Iterator[Engine]:
    """One migrated database for every test that never commits."""
    name = f"money{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    head, _, query = postgres_url.partition("?")
    engine = open_engine(f"{head.rsplit('/', 1)[0]}/{name}?{query}")
    with Session(engine) as session, session.begin():
        publish_catalogue(session, NOW)
    yield engine
    engine.dispose()


@pytest.fixture
def till(shared_engine: Engine) -> Iterator[Till]:
    """The shipped cards and an empty wallet of tenant "t", in a transaction that is undone."""
    with Session(shared_engine) as session:
        open_wallet(session, "t")
        yield Till(session)


@pytest.fixture
def till_to_commit(sessions: sessionmaker[Session]) -> Iterator[Till]:
    """The same in a database of its own, for tests that commit."""
    with sessions() as session:
        publish_catalogue(session, NOW)
        open_wallet(session, "t")
        session.commit()
        yield Till(session)


@pytest.fixture
def priced_engine(engine: Engine) -> Engine:
    """A database of its own with the shipped cards."""
    with Session(engine) as session, session.begin():
        publish_catalogue(session, NOW)
    return engine
