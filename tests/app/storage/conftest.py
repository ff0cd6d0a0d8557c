"""Both storages under the same tests."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.storage import Storage, open_storage
from tests.app.s3_server import CREDENTIALS, S3Server, running


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with running() as server:
        yield server


@pytest.fixture
def s3_storage(s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    url = s3_server.url(uuid.uuid4().hex)
    return open_storage(url, home=tmp_path / "home", cache_bytes=100)


@pytest.fixture(params=["file", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "s3":
        return request.getfixturevalue("s3_storage")
    return open_storage(f"file://{tmp_path / 'files'}")
