"""Large files through a network that breaks, to the API as it is served."""

import hashlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from app.client.client import Client
from app.client.errors import ClientError, InvalidRequestError
from app.db import open_engine, session_factory
from tests.app.live_api import LiveApi, live, tenant_with_tokens
from tests.bench.broken_uploads import MIB, BreakingProxy


@pytest.fixture(scope="module")
def live_database(postgres_url: str, template_database: str) -> Iterator[str]:
    """One for all: starting the API anew for each test would be most of their time."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE resumable TEMPLATE {template_database}")
    head, _, query = postgres_url.partition("?")
    yield f"{head.rsplit('/', 1)[0]}/resumable?{query}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE resumable WITH (FORCE)")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory, live_database: str) -> Iterator[LiveApi]:
    folder = tmp_path_factory.mktemp("api")
    with live(LiveApi(folder / "home", live_database, f"file://{folder / 'files'}")) as api:
        yield api


@pytest.fixture(scope="module")
def key(live_database: str) -> str:
    engine = open_engine(live_database)
    found = tenant_with_tokens(session_factory(engine))[1]
    engine.dispose()
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "noise.tif"
    Image.frombytes("RGB", (3000, 2000), os.urandom(18_000_000)).save(path)
    return path


def test_a_large_file_survives_broken_lines_and_a_client_that_gave_up(
    api: LiveApi, key: str, picture: Path, live_database: str
) -> None:
    seen: list[int] = []

    def give_up(_seconds: float) -> None:
        raise KeyboardInterrupt

    with BreakingProxy(api.port, lambda _: None, [9 * MIB, 12 * MIB, 20 * MIB]) as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        with Client.connect(url, key) as first:
            first._pause = give_up
            with pytest.raises(KeyboardInterrupt):
                first.upload(picture)
        _wait_for_bytes(live_database)
        with Client.connect(url, key) as second:
            file = second.upload(picture, progress=lambda done, _total: seen.append(done))
            assert second.upload(picture)["id"] == file["id"]  # nothing is sent again
    assert file["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert (file["name"], file["width"]) == ("noise.tif", 3000)
    assert seen[0] > 8 * MIB  # where the first one stood
    assert seen[-1] == picture.stat().st_size
    assert proxy.passed < 1.5 * picture.stat().st_size


def _wait_for_bytes(database_url: str) -> None:
    """Until the server has noticed that the line broke, and kept what had come."""
    deadline = time.monotonic() + 30
    with psycopg.connect(database_url, autocommit=True) as connection:
        while not connection.execute("SELECT max(received) FROM upload").fetchone()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_file_that_is_refused_is_not_tried_again(api: LiveApi, key: str, tmp_path: Path) -> None:
    path = tmp_path / "noise.bin"
    path.write_bytes(os.urandom(17 * MIB))
    with Client.connect(api.url, key) as client:
        for _ in range(2):
            with pytest.raises(InvalidRequestError) as refused:
                client.upload(path)
            assert refused.value.code == "unsupported_media"


def test_a_server_that_stays_away_is_given_up_on(tmp_path: Path, picture: Path) -> None:
    with Client.connect("http://127.0.0.1:1", "pm_live_x") as client:
        client._exchange._pause = lambda _s: None
        with pytest.raises(ClientError, match="No answer"):
            client.upload(picture)
