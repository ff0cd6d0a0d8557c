from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy.orm import Session

from app.db import open_engine
from app.local.bootstrap import prepare_database
from app.local.layout import Layout
from app.local.state import write_json
from app.settings import load_settings
from app.tenants.service import authenticate
from billing.amounts import to_number
from billing.wallets import balance


@pytest.fixture
def settings(tmp_path):
    return load_settings({"PIXELMETER_HOME": str(tmp_path)})


def owner_of(session, key):
    return authenticate(session, key, datetime.now(UTC)).tenant_id


def prepare(database_url, settings):
    return prepare_database(database_url, settings, layout=Layout(settings.home))


@pytest.fixture
def empty_database_url(postgres_url):
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE from_nothing")
    head, _, query = postgres_url.partition("?")
    yield f"{head.rsplit('/', 1)[0]}/from_nothing?{query}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE from_nothing WITH (FORCE)")


def test_an_empty_database_gets_tables_prices_and_a_tenant_with_tokens(
    empty_database_url, settings
):
    demo = prepare(empty_database_url, settings)
    engine = open_engine(empty_database_url)
    with Session(engine) as session:
        assert to_number(balance(session, demo.tenant).available) == 10_000
        assert owner_of(session, demo.tenant_key) == demo.tenant
        assert owner_of(session, demo.admin_key) is None
    engine.dispose()


def test_a_second_start_keeps_the_keys_of_dev_json_and_grants_nothing(database_url, settings):
    first = prepare(database_url, settings)
    known = {"tenant_key": first.tenant_key, "admin_key": first.admin_key}
    write_json(Layout(settings.home).dev_file, known)
    assert prepare(database_url, settings) == first
    engine = open_engine(database_url)
    with Session(engine) as session:
        assert to_number(balance(session, first.tenant).available) == 10_000
    engine.dispose()


def test_a_lost_dev_json_gets_keys_that_work_and_the_old_ones_go_on(database_url, settings):
    first = prepare(database_url, settings)
    second = prepare(database_url, settings)
    assert second.tenant == first.tenant
    assert second.tenant_key != first.tenant_key
    engine = open_engine(database_url)
    with Session(engine) as session:
        for key in (first.tenant_key, second.tenant_key):
            assert owner_of(session, key) == first.tenant
    engine.dispose()


def test_keys_are_not_shown_by_accident(database_url, settings):
    assert "pm_live" not in repr(prepare(database_url, settings))
