"""The migrations and the models tell the same story, both ways."""

import importlib
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import alembic
import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from app.db import Base, open_engine
from app.jobs.states import TRANSITIONS, JobStatus

ROOT = Path(__file__).resolve().parents[2]
MODELS = (
    "app.batches.models",
    "app.speeds.models",
    "app.estimates.models",
    "app.tenants.models",
    "app.files.models",
    "app.jobs.models",
    "app.jobs.segment_models",
    "app.webhooks.models",
    "app.weights.models",
    "app.uploads.models",
    "app.anomalies.models",
    "app.faces.models",
    "app.comfyui.models",
)


def _config(database_url: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "alembic"))
    config.attributes["database_url"] = database_url
    return config


@pytest.fixture
def empty_database(postgres_url: str) -> Iterator[str]:
    name = "empty_for_migrations"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    head, _, query = postgres_url.partition("?")
    yield f"{head.rsplit('/', 1)[0]}/{name}?{query}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _tables(database_url: str) -> list[str]:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT schemaname || '.' || tablename FROM pg_tables"
            " WHERE schemaname IN ('public', 'billing') AND tablename <> 'alembic_version'"
        ).fetchall()
    return sorted(row[0] for row in rows)


def test_the_folder_alembic_does_not_shadow_the_library() -> None:
    assert not (ROOT / "alembic" / "__init__.py").exists()
    assert ROOT not in Path(alembic.__file__ or "").parents or ".venv" in alembic.__file__


def test_up_from_empty_and_down_again_leaves_nothing(empty_database: str) -> None:
    command.upgrade(_config(empty_database), "head")
    assert "public.job" in _tables(empty_database)
    command.downgrade(_config(empty_database), "base")
    assert _tables(empty_database) == []
    command.upgrade(_config(empty_database), "head")
    assert "public.job" in _tables(empty_database)


def test_the_models_equal_the_migrations(database_url: str) -> None:
    for module in MODELS:
        importlib.import_module(module)
    engine = open_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        difference = compare_metadata(context, Base.metadata)
    engine.dispose()
    ours = [item for item in difference if "alembic_version" not in repr(item)]
    assert ours == []


def test_check_constraints_of_the_models_exist_in_the_database(session: Session) -> None:
    for module in MODELS:
        importlib.import_module(module)
    declared = {
        str(constraint.name)
        for table in Base.metadata.tables.values()
        for constraint in table.constraints
        if str(constraint.name).startswith("ck_")
    }
    stored = set(
        session.scalars(
            text("SELECT conname FROM pg_constraint WHERE conname LIKE 'ck!_%' ESCAPE '!'")
        )
    )
    assert declared <= stored
    assert len(declared) >= 5


def _insert_job(session: Session, status: JobStatus) -> str:
    session.execute(
        text(
            "INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight,"
            " max_in_flight, webhook_secret)"
            " VALUES ('ten_1', 'one', 'free', 'UTC', 'prepaid', 'request', 1, 1, '')"
            " ON CONFLICT DO NOTHING"
        )
    )
    lease = "now()" if status in {"starting", "processing", "finalizing"} else "NULL"
    session.execute(
        text(
            "INSERT INTO job (id, tenant_id, api_key_id, engine, model, params, inputs, priority,"
            " status, metadata, consent, quote, hold_id, estimated_ms, attempt, progress_done,"
            " progress_total, progress_unit, event_sequence, lease_expires_at)"
            " VALUES ('job_1', 'ten_1', 'key_1', 'detect', 'm@1', '{}', '{}', 'normal', :status,"
            f" '{{}}', false, '{{}}', 'hold_1', 1, 0, 0, 0, '', 0, {lease})"
        ),
        {"status": status},
    )
    return "job_1"


@pytest.mark.parametrize(
    ("before", "after"),
    [pair for pair in itertools.product(JobStatus, JobStatus) if pair[0] != pair[1]],
)
def test_the_database_knows_the_same_arrows_as_the_transition_table(
    transition_sessions: sessionmaker[Session], before: JobStatus, after: JobStatus
) -> None:
    lease = "now()" if after in {"starting", "processing", "finalizing"} else "NULL"
    move = text(f"UPDATE job SET status = :after, lease_expires_at = {lease} WHERE id = 'job_1'")
    with transition_sessions() as session:
        _insert_job(session, before)
        if after in TRANSITIONS[before]:
            session.execute(move, {"after": after})
        else:
            with pytest.raises(IntegrityError, match=re.escape(f"from {before} to {after}")):
                session.execute(move, {"after": after})
        session.rollback()


@pytest.fixture(scope="module")
def transition_sessions(
    postgres_url: str, template_database: str
) -> Iterator[sessionmaker[Session]]:
    """One migrated database for all pairs: every test rolls back."""
    head, _, query = postgres_url.partition("?")
    engine = open_engine(f"{head.rsplit('/', 1)[0]}/{template_database}?{query}")
    yield sessionmaker(engine)
    engine.dispose()
