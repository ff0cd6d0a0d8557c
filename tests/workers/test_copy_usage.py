"""The copy of usage: nothing is missed, nothing arrives twice, and nobody waits for it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from unittest.mock import patch

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.settings import load_settings
from billing.usage_copy import arrived, next_batch
from billing.wallets import open_wallet
from tests.workers.clickhouse_double import ClickHouseDouble
from workers import copy_usage
from workers.copy_usage import SINK, copy
from workers.services import Services

AT = datetime(2026, 1, 1, 12, 30, 0, 250000, tzinfo=UTC)
LINE = text(
    "INSERT INTO billing.usage_line (job, wallet, settled_at, end_user, engine, model, device,"
    " outcome, cached, charged, gpu_us) SELECT :job, w.id, :at, 'ä\"b', 'detect', 'm@1', 'cpu',"
    " 'succeeded', false, 1234567, 42 FROM billing.wallet w"
)


@pytest.fixture
def server() -> Iterator[ClickHouseDouble]:
    server = ClickHouseDouble()
    yield server
    server.close()


@pytest.fixture
def services(
    database_url: str, server: ClickHouseDouble, sessions: sessionmaker[Session]
) -> Iterator[Services]:
    with sessions.begin() as session:
        open_wallet(session, "ten_1")
    settings = replace(load_settings({}), database_url=database_url, clickhouse_url=server.url)
    services = Services(settings)
    yield services
    services.close()


def write(session: Session, *jobs: str) -> None:
    for job in jobs:
        session.execute(LINE, {"job": job, "at": AT})


def add(sessions: sessionmaker[Session], *jobs: str) -> None:
    with sessions.begin() as session:
        write(session, *jobs)


def jobs_of(server: ClickHouseDouble) -> list[str]:
    return [line["job"] for line in server.lines]


def test_lines_arrive_in_batches_and_once(
    services: Services, server: ClickHouseDouble, sessions: sessionmaker[Session]
) -> None:
    add(sessions, "a", "b", "c")
    add(sessions, "d")
    assert copy(services, lines=2) == 4
    assert jobs_of(server) == ["a", "b", "c", "d"]
    assert len(set(server.tokens)) == 2
    assert copy(services) == 0
    assert server.lines[0] == {
        "job": "a",
        "tenant": "ten_1",
        "settled_at": "2026-01-01T12:30:00.250000+00:00",
        "project": None,
        "api_key": None,
        "end_user": 'ä"b',
        "engine": "detect",
        "model": "m@1",
        "device": "cpu",
        "outcome": "succeeded",
        "cached": False,
        "gpu_us": 42,
        "tokens": "1.234567",
    }
    assert any("ReplacingMergeTree" in statement for statement in server.statements)


def test_a_transaction_that_commits_late_is_not_missed(
    services: Services, server: ClickHouseDouble, sessions: sessionmaker[Session]
) -> None:
    with sessions() as slow:
        write(slow, "early, committed late")
        add(sessions, "late, committed early")
        assert copy(services) == 0  # who could stand before it still runs
        slow.commit()
    assert copy(services) == 2
    assert jobs_of(server) == ["early, committed late", "late, committed early"]


# The driver itself repeats a request whose answer was lost, once.
@pytest.mark.parametrize("accidents", [["refuse"], ["lose", "lose"]])
def test_a_batch_that_failed_is_sent_again_as_the_same_batch(
    services: Services,
    server: ClickHouseDouble,
    sessions: sessionmaker[Session],
    accidents: list[str],
) -> None:
    add(sessions, "a", "b")
    server.next = accidents
    with pytest.raises(Exception, match=r".+"):
        copy(services)
    add(sessions, "c")  # does not join the batch that may have arrived
    assert copy(services) == 3
    assert jobs_of(server) == ["a", "b", "c"]
    assert len(set(server.tokens)) == 2


def test_a_server_that_is_away_loses_nothing_and_the_task_says_so(
    services: Services,
    server: ClickHouseDouble,
    sessions: sessionmaker[Session],
    caplog: pytest.LogCaptureFixture,
) -> None:
    add(sessions, "a")
    away = Services(replace(services.settings, clickhouse_url="http://127.0.0.1:1/default"))
    with patch.object(copy_usage.process_services, "get", return_value=away):
        copy_usage.copy_usage.run()
    away.close()
    assert "the copy of usage waits for ClickHouse" in caplog.text
    assert copy(services) == 1
    assert jobs_of(server) == ["a"]


def test_without_the_setting_nothing_is_copied(
    services: Services, sessions: sessionmaker[Session]
) -> None:
    add(sessions, "a")
    off = Services(replace(services.settings, clickhouse_url=None))
    assert copy(off) == 0
    off.close()
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM billing.usage_copy")) == 0


def test_two_copiers_send_the_same_batch_and_one_of_them_notes_it(
    sessions: sessionmaker[Session], services: Services
) -> None:
    add(sessions, "a", "b")
    batches = []
    for _ in range(2):
        with sessions.begin() as session:
            batches.append(next_batch(session, sink=SINK, limit=10))
    assert batches[0] == batches[1]
    noted = []
    for batch in batches:
        with sessions.begin() as session:
            noted.append(arrived(session, batch))
    assert noted == [True, False]
