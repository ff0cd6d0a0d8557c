"""Run migrations against the database that the caller or the settings name."""

from alembic import context
from sqlalchemy import create_engine, pool

from app.db import sqlalchemy_url
from app.settings import load_settings


def run() -> None:
    url = context.config.attributes.get("database_url") or load_settings().require_database_url()
    engine = create_engine(sqlalchemy_url(url), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(connection=connection, include_schemas=True)
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


run()
