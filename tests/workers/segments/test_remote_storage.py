"""A video in segments whose results lie in an S3 bucket."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from app.jobs.states import JobStatus
from tests.app.s3_server import CREDENTIALS, running
from tests.workers.miniature import Platform
from tests.workers.segments.cinema import Cinema, settings_with_digest


@pytest.fixture
def cinema(
    database_url: str,
    sessions: sessionmaker[Session],
    tmp_path: Path,
    clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Cinema]:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with running() as server:
        settings = settings_with_digest(tmp_path / "home", database_url)
        settings = replace(settings, storage_url=server.url(uuid.uuid4().hex))
        platform = Platform(settings, sessions)
        yield Cinema(platform, clip)
        platform.services.close()


def test_results_are_stored_found_joined_and_deleted_in_a_bucket(cinema: Cinema) -> None:
    whole = cinema.submit(segments=1)
    assert cinema.start(whole) is JobStatus.SUCCEEDED
    job_id = cinema.cut(segments=4)
    cinema.run(job_id, 0)
    cinema.platform.change("UPDATE segment SET status = 'waiting' WHERE number = 0")
    cinema.platform.change("UPDATE job SET segments_done = 0")
    cinema.run_all(job_id)
    assert cinema.outcomes(job_id)[:2] == [(0, 1, "done"), (0, 2, "found")]
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    assert cinema.output(job_id) == cinema.output(whole)
    for each in (whole, job_id):
        cinema.settle(each)
    cinema.assert_nothing_is_left()
