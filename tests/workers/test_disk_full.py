"""An output that does not fit ends its job free of charge, and no half of it stays."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.jobs.states import JobStatus
from engines.spec import OutputFile, RunContext
from tests.small_disk import fill, small_disk
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform, settings_of
from workers.run_job import execute
from workers.settle import drain
from workers.work_folders import work_root


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", mib=4) as folder:
        yield folder


@pytest.fixture
def platform(
    database_url: str, sessions: sessionmaker[Session], tmp_path: Path, disk: Path, photo: Path
) -> Iterator[Platform]:
    settings = replace(settings_of(tmp_path / "home", database_url), storage_url=f"file://{disk}")
    platform = Platform(settings, sessions)
    platform.upload(photo)
    yield platform
    platform.services.close()


@pytest.fixture
def fake(platform: Platform, photo: Path) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    registry.fake.outputs = (OutputFile(photo, "image/png", "result.png"),)
    return registry.fake


def files_of(disk: Path) -> set[Path]:
    return {path for path in disk.rglob("*") if path.is_file()}


def run(platform: Platform, job_id: str) -> JobStatus | None:
    return execute(platform.services, job_id=job_id, worker="gpu1@test", engines=["detect"])


def test_an_output_that_does_not_fit_ends_the_job_free_of_charge(
    platform: Platform, fake: FakeEngine, disk: Path
) -> None:
    job_id = platform.submit()
    fill(disk, leave_bytes=20_000)
    before = files_of(disk)
    statuses = [run(platform, job_id) for _ in range(3)]
    assert statuses == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FAILED]
    assert platform.job(job_id)["error"]["code"] == "storage_full"
    assert platform.job(job_id)["error"]["retryable"]
    drain(platform.services)
    assert platform.job(job_id)["usage"]["tokens"] == 0
    assert platform.scalar("SELECT count(*) FROM billing.hold WHERE state = 'open'") == 0
    assert platform.scalar("SELECT count(*) FROM file WHERE purpose = 'output'") == 0
    assert files_of(disk) == before
    assert list(work_root(platform.services).iterdir()) == []
    platform.reconcile()


def test_room_that_comes_back_is_used_by_the_next_attempt(
    platform: Platform, fake: FakeEngine, disk: Path
) -> None:
    def make_room(_: RunContext) -> None:
        if fake.runs == 2:
            filler.unlink()

    fake.behave = make_room
    job_id = platform.submit()
    filler = fill(disk, leave_bytes=20_000)
    assert [run(platform, job_id) for _ in range(2)] == [JobStatus.QUEUED, JobStatus.SUCCEEDED]
    drain(platform.services)
    assert platform.job(job_id)["usage"]["tokens"] > 0
