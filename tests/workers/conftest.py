"""A real Redis and what worker tests start with it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests.workers.miniature import Platform, settings_of
from tests.workers.redis_server import RedisServer


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """Short folder names: socket paths are limited to about 100 characters."""
    folder = Path(tempfile.mkdtemp(prefix="pmr-"))
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def platform(
    database_url: str, sessions: sessionmaker[Session], tmp_path: Path, photo: Path
) -> Iterator[Platform]:
    """A tenant with tokens and one uploaded picture; no process runs."""
    platform = Platform(settings_of(tmp_path / "home", database_url), sessions)
    platform.upload(photo)
    yield platform
    platform.services.close()


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small real photograph."""
    from PIL import Image
    from skimage import data

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(data.astronaut()).resize((256, 256)).save(path)
    return path
