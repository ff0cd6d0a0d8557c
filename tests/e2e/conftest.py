"""The whole platform on this machine, started as a user starts it: by its command line."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
import pytest
from PIL import Image

from app.client.client import Client
from app.demo.media import Photos, find_photos, render_clip
from app.local.ports import free_port

NOT_OURS = (
    "DATABASE_URL",
    "REDIS_URL",
    "STORAGE_URL",
    "PIXELMETER_URL",
    "PIXELMETER_API_KEY",
    "PIXELMETER_OUTBOUND_ALLOW",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@dataclass(frozen=True)
class Home:
    """A PIXELMETER_HOME and the command line that works on it."""

    folder: Path
    environment: dict[str, str]

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `pixelmeter` with these arguments."""
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            env=self.environment,
            timeout=200,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr + self.last_words()
        return done

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "app.cli.main", *arguments]

    @property
    def state(self) -> dict[str, Any]:
        return json.loads((self.folder / "state.json").read_text())

    @property
    def dev(self) -> dict[str, Any]:
        return json.loads((self.folder / "dev.json").read_text())

    def process(self, name: str) -> dict[str, Any]:
        return next(each for each in self.state["processes"] if each["name"] == name)

    def client(self) -> Client:
        return Client.connect(self.dev["base_url"], self.dev["tenant_key"])

    def query(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.state["database_url"]) as connection:
            return connection.execute(sql, values).fetchall()

    def processes(self) -> list[psutil.Process]:
        """Everything alive that was started for this home: its environment names the folder."""
        return [each for each in psutil.process_iter() if self._is_ours(each)]

    def sockets(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_socket()]

    def last_words(self) -> str:
        log = self.folder / "logs" / "supervisor.log"
        return log.read_text()[-3000:] if log.exists() else ""

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get("PIXELMETER_HOME") == str(self.folder)
        except (psutil.Error, OSError):
            return False


MakeHome = Callable[..., Home]


@pytest.fixture(scope="session")
def make_home() -> Iterator[MakeHome]:
    """Make homes; whatever still runs in one is stopped at the end."""
    homes: list[Home] = []

    def make(**settings: str) -> Home:
        folder = Path(tempfile.mkdtemp(prefix="pme2e-"))
        inherited = {name: text for name, text in os.environ.items() if name not in NOT_OURS}
        home = Home(folder, {**inherited, "PIXELMETER_HOME": str(folder), **settings})
        homes.append(home)
        return home

    yield make
    for home in homes:
        home.run("down", check=False)
        shutil.rmtree(home.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def platform(make_home: MakeHome) -> Home:
    """One running platform for every test that leaves it running."""
    home = make_home(PIXELMETER_OUTBOUND_ALLOW="127.0.0.1")
    ports = ("--port", str(free_port()), "--comfyui-port", "0")
    home.run("up", "--detach", *ports, "--allow-anonymous")
    return home


@pytest.fixture
def client(platform: Home) -> Iterator[Client]:
    with platform.client() as client:
        yield client


@pytest.fixture
def http(platform: Home) -> Iterator[httpx.Client]:
    """Plain HTTP with the tenant's key, for what the client hides."""
    headers = {"Authorization": f"Bearer {platform.dev['tenant_key']}"}
    with httpx.Client(base_url=platform.dev["base_url"], headers=headers, timeout=60) as http:
        yield http


@pytest.fixture(scope="session")
def photos() -> Photos:
    return find_photos()


@pytest.fixture(scope="session")
def clip(photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video that takes the detector a few seconds."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    render_clip(photos, path, seconds=6.0, fps=10)
    return path


@pytest.fixture(scope="session")
def picture_of(photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A photograph in an exact size."""
    folder = tmp_path_factory.mktemp("pictures")

    def make(width: int, height: int) -> Path:
        path = folder / f"{width}x{height}.png"
        if not path.exists():
            with Image.open(photos.coffee) as photo:
                photo.convert("L").resize((width, height)).save(path)
        return path

    return make


@pytest.fixture(scope="session")
def portraits_of(photos: Photos, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A photograph with so many faces side by side."""
    folder = tmp_path_factory.mktemp("portraits")

    def make(faces: int) -> Path:
        path = folder / f"{faces}.png"
        if not path.exists():
            with Image.open(photos.astronaut) as photo:
                row = Image.new("RGB", (photo.width * faces, photo.height))
                for index in range(faces):
                    row.paste(photo.convert("RGB"), (photo.width * index, 0))
                row.save(path)
        return path

    return make
