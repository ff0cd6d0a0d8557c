from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from app.api.readiness import (
    NotReadyError,
    Readiness,
    broker_check,
    database_check,
    migrations_check,
    storage_check,
)
from app.db import open_engine
from app.storage import FileStorage


def fails() -> None:
    raise NotReadyError("start it")


def breaks() -> None:
    raise OSError("secret detail")


def passes() -> None:
    return


def test_everything_fine_is_ready_and_not_degraded() -> None:
    report = Readiness({"a": passes}, {"b": passes}).report()
    assert (report.ready, report.degraded) == (True, False)
    assert report.checks == {"a": "ok", "b": "ok"}


def test_a_missing_broker_is_degraded_and_still_ready() -> None:
    report = Readiness({"a": passes}, {"broker": fails}).report()
    assert (report.ready, report.degraded) == (True, True)
    assert report.checks["broker"] == "start it"


def test_a_missing_database_is_not_ready_and_tells_no_details() -> None:
    report = Readiness({"database": breaks}, {}).report()
    assert not report.ready
    assert "secret detail" not in report.checks["database"]


def test_checks_run_at_most_once_per_second() -> None:
    runs: list[int] = []
    now = [0.0]
    readiness = Readiness({"a": lambda: runs.append(1)}, {}, clock=lambda: now[0])
    readiness.report()
    now[0] = 0.9
    readiness.report()
    assert len(runs) == 1
    now[0] = 1.1
    readiness.report()
    assert len(runs) == 2


def test_the_database_check_writes(engine: Engine) -> None:
    database_check(engine)()


def test_a_database_that_is_away_fails_the_check() -> None:
    away = open_engine("postgresql://127.0.0.1:1/none")
    report = Readiness({"database": database_check(away)}, {}).report()
    assert not report.ready


def test_migrations_at_head_pass_and_older_ones_name_the_command(engine: Engine) -> None:
    check = migrations_check(engine)
    check()
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    with pytest.raises(NotReadyError, match="alembic upgrade head"):
        check()


def test_a_storage_that_takes_no_bytes_fails_the_check(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "files")
    check = storage_check(storage)
    check()
    (tmp_path / "files" / "scratch").rmdir()
    report = Readiness({"storage": check}, {}).report()
    assert not report.ready


def test_without_a_broker_address_the_sentence_says_so() -> None:
    with pytest.raises(NotReadyError, match="REDIS_URL"):
        broker_check(None)()
