"""Jobs whose files live in S3: the same ends, and a server that goes away in the middle."""

import hashlib
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.jobs.states import JobStatus
from app.settings import Settings
from engines.spec import OutputFile, RunContext
from tests.app.s3_server import CREDENTIALS, S3Server, running
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform, settings_of
from workers import conclusion
from workers.run_job import execute
from workers.settle import drain
from workers.work_folders import work_root


@pytest.fixture(scope="module")
def shared_server() -> Iterator[S3Server]:
    with running() as server:
        yield server


@pytest.fixture
def s3_server(shared_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """Empty, and started again for the next test where this one stopped it."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    yield shared_server
    shared_server.reset()


@pytest.fixture
def platform(
    database_url: str,
    sessions: sessionmaker[Session],
    tmp_path: Path,
    photo: Path,
    s3_server: S3Server,
) -> Iterator[Platform]:
    settings: Settings = settings_of(tmp_path / "home", database_url)
    prefix = uuid.uuid4().hex
    platform = Platform(replace(settings, storage_url=s3_server.url(prefix)), sessions)
    platform.upload(photo)
    yield platform
    platform.services.close()


@pytest.fixture
def fake(platform: Platform, photo: Path) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    registry.fake.outputs = (OutputFile(photo, "image/png", "result.png"),)
    return registry.fake


def run(platform: Platform, job_id: str) -> JobStatus | None:
    return execute(platform.services, job_id=job_id, worker="gpu1@test", engines=["detect"])


def nothing_left_on_disk(platform: Platform) -> bool:
    """Neither folders of attempts nor scratch files; copies for later are meant to stay."""
    scratch = platform.settings.home / "storage" / "scratch"
    partial = platform.settings.home / "storage" / "nearby" / "partial"
    folders = (work_root(platform.services), scratch, partial)
    return not [path for folder in folders for path in folder.iterdir()]


def test_inputs_come_from_s3_and_outputs_go_there(
    platform: Platform, fake: FakeEngine, s3_server: S3Server
) -> None:
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.SUCCEEDED
    drain(platform.services)
    (entry,) = platform.job(job_id)["output"]["files"]
    row = platform.row("SELECT * FROM file WHERE id = :id", id=entry["id"])
    with platform.services.storage.open(row["storage_key"]) as stream:
        assert hashlib.sha256(stream.read()).hexdigest() == row["sha256"] == entry["sha256"]
    assert platform.job(job_id)["usage"]["tokens"] > 0
    assert len(s3_server.names()) == 2
    assert nothing_left_on_disk(platform)
    platform.reconcile()


def test_a_real_engine_reads_its_input_from_s3(platform: Platform) -> None:
    job_id = platform.submit(params={"annotate": True})
    assert run(platform, job_id) is JobStatus.SUCCEEDED
    assert platform.job(job_id)["output"]["files"][0]["media_type"].startswith("image/")


def test_a_result_kept_in_s3_is_given_again(platform: Platform, fake: FakeEngine) -> None:
    for _ in range(2):
        job_id = platform.submit(cache=True)
        assert run(platform, job_id) is JobStatus.SUCCEEDED
        drain(platform.services)
    assert fake.runs == 1
    assert platform.job(job_id)["usage"]["cached"]


def test_an_input_that_is_gone_from_s3_is_said_to_be(platform: Platform, fake: FakeEngine) -> None:
    job_id = platform.submit()
    platform.services.storage.delete(platform.scalar("SELECT storage_key FROM file"))
    assert run(platform, job_id) is JobStatus.FAILED
    assert platform.job(job_id)["error"]["code"] == "input_gone"


def test_s3_that_stops_while_a_job_runs_ends_it_free_of_charge(
    platform: Platform,
    fake: FakeEngine,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its input is at hand on this machine; what no attempt can do is store a result."""
    monkeypatch.setattr(conclusion, "PERSIST_FOR_S", 0.2)
    fake.behave = lambda context: s3_server.stop()
    job_id = platform.submit()
    statuses = [run(platform, job_id) for _ in range(3)]
    assert statuses == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FAILED]
    job = platform.job(job_id)
    assert job["error"]["code"] == "storage_unavailable"
    assert job["error"]["retryable"]
    drain(platform.services)
    assert platform.job(job_id)["usage"]["tokens"] == 0
    assert platform.scalar("SELECT count(*) FROM billing.hold WHERE state = 'open'") == 0
    assert platform.scalar("SELECT count(*) FROM file WHERE purpose = 'output'") == 0
    assert nothing_left_on_disk(platform)
    platform.reconcile()


def test_a_result_waits_for_s3_to_come_back(
    platform: Platform, fake: FakeEngine, s3_server: S3Server
) -> None:
    back = threading.Timer(1.0, s3_server.start)

    def outage(context: RunContext) -> None:
        s3_server.stop()
        back.start()

    fake.behave = outage
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.SUCCEEDED
    back.join()
    assert fake.runs == 1
    assert len(s3_server.names()) == 1
