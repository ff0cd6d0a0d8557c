"""The port on a real address and a real PostgreSQL; jobs end when a test says so."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import httpx
import psycopg
import pytest
import skimage
from aiohttp import web
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.comfyui.port import open_port
from app.comfyui.server import create_app
from app.db import open_engine, session_factory
from app.errors import InvalidRequestError
from app.files.service import output_entry, output_file
from app.jobs.lifecycle import advance, claim, finish, mark_settled
from app.jobs.record import Progress
from app.jobs.states import JobStatus
from app.settings import Settings, load_settings
from app.storage import open_storage
from billing.cards import publish_catalogue
from billing.settlement import settle
from engines.errors import InvalidInputError
from engines.media.limits import MediaLimits
from engines.media.probe import probe
from engines.spec import MediaInfo, UsageReport, Work
from tests.app.api.conftest import SECRET, add_tenant


def picture(seed: int = 0, *, size: tuple[int, int] = (90, 120), suffix: str = ".png") -> bytes:
    """A small grey photograph, another one for each seed."""
    photo = skimage.data.camera()[seed : seed + size[0], seed : seed + size[1]]
    return cv2.imencode(suffix, photo)[1].tobytes()


def graph(image: str, **inputs: Any) -> dict[str, Any]:
    """The workflow of everybody: load, colour, save."""
    colour = {"image": ["1", 0], "model_input_size": 512, "checkpoint": "ddcolor_modelscope.pth"}
    return {
        "1": {"class_type": "LoadImage", "inputs": {"image": image}},
        "2": {"class_type": "DDColor_Colorize", "inputs": {**colour, **inputs}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "dd"}},
    }


class Workers:
    """What GPU and billing workers do to a job, step by step."""

    def __init__(self, settings: Settings, sessions: sessionmaker[Session]) -> None:
        self.sessions = sessions
        self.storage = open_storage(settings.storage_url, home=settings.home)
        self.folder = settings.home

    def jobs(self) -> list[dict[str, Any]]:
        with self.sessions() as session:
            rows = session.execute(text("SELECT * FROM job ORDER BY created_at, id")).mappings()
            return [dict(row) for row in rows]

    def start(self, job_id: str, *, done: int = 1) -> int:
        with self.sessions.begin() as session:
            run = claim(session, job_id=job_id, worker="worker-1", lease_s=60)
            assert run is not None
            advance(session, job_id=job_id, attempt=run.attempt, to=JobStatus.PROCESSING)
            session.execute(
                text("UPDATE job SET progress_done = :done, progress_total = 2 WHERE id = :id"),
                {"done": done, "id": job_id},
            )
        return run.attempt

    def end(self, job_id: str, attempt: int = 1, content: bytes = b"", **ending: Any) -> None:
        """With a result of these bytes, or as ``outcome`` and ``error`` say."""
        with self.sessions.begin() as session:
            if "outcome" not in ending:
                advance(session, job_id=job_id, attempt=attempt, to=JobStatus.FINALIZING)
                ending = {
                    "outcome": JobStatus.SUCCEEDED,
                    "output": self._output(session, job_id, content or picture(7)),
                    "usage": _usage(),
                    "progress": Progress(2, 2, "steps"),
                    **ending,
                }
            finish(session, job_id=job_id, attempt=attempt, **ending)
        self.settle(job_id)

    def settle(self, job_id: str) -> None:
        with self.sessions.begin() as session:
            settlement = settle(session, job=job_id)
            assert settlement is not None
            mark_settled(session, settlement=settlement)

    def run(self, job_id: str, content: bytes = b"") -> None:
        self.end(job_id, self.start(job_id), content)

    def _output(self, session: Session, job_id: str, content: bytes) -> dict[str, Any]:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / "result"
        path.write_bytes(content)
        tenant = session.execute(
            text("SELECT tenant_id FROM job WHERE id = :id"), {"id": job_id}
        ).scalar_one()
        file = output_file(
            self.storage,
            tenant_id=tenant,
            job_id=job_id,
            path=path,
            name="photo-colorized.png",
            media_type="image/png",
            info=probe(path, MediaLimits()),
            now=datetime.now(UTC),
        )
        session.add(file)
        return {"files": [output_entry(file)], "data": {"model": "builtin@1"}}


def _usage() -> UsageReport:
    quantities = {"images": 1, "megapixels": 0.01, "upscaled": 0, "denoised": 0, "descratched": 0}
    return UsageReport(
        work=Work({**quantities, "gpu_ms": 1}, {"media": "image", "type": "person"}),
        model="builtin@1",
        device="cpu:test",
        runner="opencv",
        provider="opencv",
        precision="none",
        stages_ms={"infer": 1.0},
        wall_ms=2.0,
        cold_start_ms=0.0,
        peak_memory_bytes=0,
    )


@dataclass(frozen=True, slots=True)
class Served:
    """A running port and a client of it."""

    http: httpx.Client
    tenant_id: str
    key: str

    @property
    def url(self) -> str:
        return str(self.http.base_url)

    def upload(self, content: bytes, name: str = "photo.png", **fields: str) -> str:
        part = fields.pop("part", "image")
        answer = self.http.post("/upload/image", files={part: (name, content)}, data=fields)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["name"])

    def prompt(self, workflow: dict[str, Any], **fields: Any) -> str:
        answer = self.http.post("/prompt", json={"prompt": workflow, **fields})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["prompt_id"])


@dataclass(frozen=True, slots=True)
class Steady:
    """A port that nothing changes, and what its database holds."""

    served: Served
    sessions: sessionmaker[Session]

    def counted(self) -> list[int]:
        with self.sessions() as session:
            return [
                session.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()
                for table in ("job", "comfyui_prompt", "file", "billing.hold")
            ]


def _probe_here(path: Path) -> MediaInfo:
    """In this process: a probing child takes longer to start than most tests."""
    try:
        return probe(path, MediaLimits())
    except InvalidInputError as error:
        raise InvalidRequestError(error.detail, code=error.code) from error


@contextmanager
def serving(settings: Settings, *, key: str, tenant_id: str) -> Iterator[Served]:
    """Serve on a free port from a thread with a loop of its own, until the block ends."""
    loop, started, stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    address: list[str] = []

    async def serve() -> None:
        port = open_port(settings, key=key)
        desk = replace(port.desk, probe=_probe_here)
        runner = web.AppRunner(create_app(replace(port, desk=desk)))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        address.append("http://{}:{}".format(*runner.addresses[0][:2]))
        started.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(20)
    try:
        with httpx.Client(base_url=address[0], timeout=20) as http:
            yield Served(http, tenant_id, key)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()


def settings_of(folder: Path, database_url: str) -> Settings:
    return replace(
        load_settings({}),
        home=folder / "home",
        database_url=database_url,
        storage_url=f"file://{folder / 'files'}",
        secret_key=SECRET,
        max_upload_bytes=2_000_000,
    )


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    return settings_of(tmp_path, database_url)


@pytest.fixture(scope="module")
def steady(
    postgres_url: str, template_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Steady]:
    """One port for the tests of a module that want refusals: they leave nothing behind."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE steady TEMPLATE {template_database}")
    head, _, query = postgres_url.partition("?")
    settings = settings_of(
        tmp_path_factory.mktemp("steady"), f"{head.rsplit('/', 1)[0]}/steady?{query}"
    )
    engine = open_engine(settings.require_database_url())
    sessions = session_factory(engine)
    with sessions.begin() as session:
        publish_catalogue(session, datetime.now(UTC))
        tenant_id, key = add_tenant(session, "steady", tokens=1000)
    with serving(settings, key=key, tenant_id=tenant_id) as served:
        yield Steady(served, sessions)
    engine.dispose()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE steady WITH (FORCE)")


Open = Callable[..., Any]


@pytest.fixture
def opened(settings: Settings, sessions: sessionmaker[Session]) -> Iterator[Open]:
    """Open a port for a tenant with so many tokens; several may run side by side."""
    with sessions.begin() as session:
        publish_catalogue(session, datetime.now(UTC))
    running: list[Any] = []

    def open_for(name: str, *, tokens: int = 1000) -> Served:
        with sessions.begin() as session:
            tenant_id, key = add_tenant(session, name, tokens=tokens)
        context = serving(settings, key=key, tenant_id=tenant_id)
        served = context.__enter__()
        running.append(context)
        return served

    yield open_for
    for context in running:
        context.__exit__(None, None, None)


@pytest.fixture
def served(opened: Open) -> Served:
    return opened("acme")


@pytest.fixture
def workers(settings: Settings, sessions: sessionmaker[Session]) -> Workers:
    return Workers(settings, sessions)
