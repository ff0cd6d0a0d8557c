"""Large files through a network that breaks, to the API as it is served."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy.orm import Session, sessionmaker

from app.client.client import Client
from app.client.errors import ClientError, InvalidRequestError
from tests.app.live_api import LiveApi, live, tenant_with_tokens
from tests.bench.broken_uploads import MIB, BreakingProxy


@pytest.fixture
def api(tmp_path: Path, database_url: str) -> Iterator[LiveApi]:
    with live(LiveApi(tmp_path / "home", database_url, f"file://{tmp_path / 'files'}")) as api:
        yield api


@pytest.fixture
def key(sessions: sessionmaker[Session]) -> str:
    return tenant_with_tokens(sessions)[1]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "noise.tif"
    Image.frombytes("RGB", (3000, 2000), os.urandom(18_000_000)).save(path)
    return path


def test_a_large_file_survives_broken_lines_and_a_client_that_gave_up(
    api: LiveApi, key: str, picture: Path
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
        with Client.connect(url, key) as second:
            file = second.upload(picture, progress=lambda done, _total: seen.append(done))
            assert second.upload(picture)["id"] == file["id"]  # nothing is sent again
    assert file["sha256"] == hashlib.sha256(picture.read_bytes()).hexdigest()
    assert (file["name"], file["width"]) == ("noise.tif", 3000)
    assert seen[0] > 8 * MIB  # where the first one stood
    assert seen[-1] == picture.stat().st_size
    assert proxy.passed < 1.5 * picture.stat().st_size


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
