"""What a run is offered about faces, with a fake engine on a real database."""

import hashlib
import logging
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from sqlalchemy.exc import OperationalError

from app.faces import blocklist, embeddings
from app.jobs.states import JobStatus
from engines.spec import RunContext
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform
from workers.run_job import execute
from workers.sweep import sweep_promises

MODEL = "net@1"
FACE = np.random.default_rng(3).normal(size=128).astype(np.float32)
CONTENT = hashlib.sha256(b"a portrait").hexdigest()


@pytest.fixture
def fake(platform: Platform) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    return registry.fake


def run(platform: Platform) -> tuple[str, JobStatus | None]:
    job_id = platform.submit()
    return job_id, execute(platform.services, job_id=job_id, worker="gpu1@test")


class Embedding:
    """Behaves as an engine that embeds a source face, and notes what it was offered."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    def __call__(self, context: RunContext) -> None:
        kept = context.embeddings.get(MODEL, CONTENT)
        self.found.append(kept)
        vector = FACE if kept is None else kept
        context.blocked_faces.check(MODEL, vector)
        if kept is None:
            context.embeddings.put(MODEL, CONTENT, vector)


def block(platform: Platform) -> str:
    with platform.sessions.begin() as session:
        face = blocklist.block(
            session,
            platform.services.box,
            model=MODEL,
            vector=FACE,
            reason="asked for",
            actor="test",
            now=datetime.now(UTC),
        )
        return face.id


def test_the_second_run_of_a_tenant_finds_what_the_first_one_kept(
    platform: Platform, fake: FakeEngine
) -> None:
    fake.behave = Embedding()
    for _ in range(2):
        assert run(platform)[1] is JobStatus.SUCCEEDED
    first, second = fake.behave.found
    assert first is None
    assert (second == FACE).all()


def test_after_an_erasure_the_face_is_embedded_anew(platform: Platform, fake: FakeEngine) -> None:
    fake.behave = Embedding()
    run(platform)
    with platform.sessions.begin() as session:
        embeddings.erase(session, tenant_id=platform.tenant, actor="test", now=datetime.now(UTC))
    run(platform)
    assert fake.behave.found == [None, None]


def test_the_sweep_deletes_what_is_older_than_a_week(platform: Platform, fake: FakeEngine) -> None:
    fake.behave = Embedding()
    run(platform)
    platform.change("UPDATE face_embedding SET expires_at = now() - interval '1 s'")
    sweep_promises(platform.services)
    assert platform.scalar("SELECT count(*) FROM face_embedding") == 0


def test_a_blocked_face_ends_the_job_and_nothing_is_charged(
    platform: Platform, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    fake.behave = Embedding()
    run(platform)  # the cache knows the face: that does not help
    face_id = block(platform)
    with caplog.at_level(logging.DEBUG):
        job_id, status = run(platform)
    assert status is JobStatus.FAILED
    job = platform.job(job_id)
    assert job["error"]["code"] == "face_blocked"
    assert job["error"]["retryable"] is False
    assert face_id not in str(job["error"]) + caplog.text
    with platform.sessions.begin() as session:
        blocklist.unblock(session, face_id=face_id, actor="test", now=datetime.now(UTC))
    assert run(platform)[1] is JobStatus.SUCCEEDED


def test_where_faces_are_blocked_none_passes_unseen(platform: Platform, fake: FakeEngine) -> None:
    fake.behave = lambda context: context.blocked_faces.check_unseen()
    assert run(platform)[1] is JobStatus.SUCCEEDED
    block(platform)
    assert [run(platform)[1], run(platform)[1]] == [JobStatus.QUEUED] * 2


def test_a_blocklist_that_cannot_be_read_lets_nobody_through(
    platform: Platform, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError("SELECT", {"vector": "secret"}, Exception("away"))

    monkeypatch.setattr("workers.blocked_faces.load", away)
    fake.behave = Embedding()
    job_id, status = run(platform)
    assert status is JobStatus.QUEUED  # another attempt may find the database there
    assert platform.job(job_id)["error"] is None or "secret" not in str(platform.job(job_id))


def test_embeddings_that_cannot_be_read_or_kept_fail_no_job(
    platform: Platform,
    fake: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away(*_: object, **values: object) -> None:
        raise OperationalError("SELECT", values, Exception("away"))

    monkeypatch.setattr("app.faces.embeddings.find", away)
    monkeypatch.setattr("app.faces.embeddings.keep", away)
    fake.behave = Embedding()
    assert run(platform)[1] is JobStatus.SUCCEEDED
    assert "was not kept" in caplog.text
    assert CONTENT not in caplog.text
