"""The same question within a day: nothing runs, nothing is charged, each job keeps its outputs."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.files.collection import collect_expired
from app.jobs.result_cache import forget_old
from app.jobs.states import JobStatus
from engines.media.provenance import read_origin
from engines.spec import OutputFile
from tests.workers.miniature import FakeBatchEngine, FakeEngine, FakeRegistry, Platform
from workers.run_job import execute
from workers.settle import drain


@pytest.fixture
def fake(platform: Platform, photo: Path) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    registry.fake.outputs = (OutputFile(photo, "image/png", "result.png"),)
    return registry.fake


def ask(platform: Platform, **fields: Any) -> dict[str, Any]:
    """Submit, run and settle; the job afterwards."""
    job_id = platform.submit(**{"cache": True, **fields})
    assert run(platform, job_id) is JobStatus.SUCCEEDED
    drain(platform.services)
    return platform.job(job_id)


def run(platform: Platform, job_id: str) -> JobStatus | None:
    return execute(platform.services, job_id=job_id, worker="gpu1@test", engines=["detect"])


def test_the_second_time_nothing_runs_and_nothing_is_charged(
    platform: Platform, fake: FakeEngine
) -> None:
    first, second = ask(platform), ask(platform)
    assert fake.runs == 1
    assert (first["usage"]["cached"], second["usage"]["cached"]) == (False, True)
    assert first["usage"]["tokens"] > 0
    assert second["usage"]["tokens"] == second["usage"]["gpu_ms"] == 0
    assert second["usage"]["remaining_tokens"] == first["usage"]["remaining_tokens"]
    assert second["usage"]["runner"] == "cache"
    assert second["output"]["data"] == first["output"]["data"]
    record = platform.row("SELECT * FROM billing.usage_record WHERE job = :id", id=second["id"])
    assert record["cached"]
    assert record["quantities"]["images"] == 1
    platform.reconcile()


def test_the_same_bytes_uploaded_again_are_the_same_question(
    platform: Platform, fake: FakeEngine, photo: Path
) -> None:
    ask(platform)
    platform.upload(photo)
    assert ask(platform)["usage"]["cached"]


def test_outputs_are_copies_that_outlive_one_another(
    platform: Platform, fake: FakeEngine, photo: Path
) -> None:
    first, second = ask(platform), ask(platform)
    [mine], [copy] = first["output"]["files"], second["output"]["files"]
    assert mine["id"] != copy["id"]
    assert mine["sha256"] == copy["sha256"]
    platform.change(
        "UPDATE file SET expires_at = now() - interval '1 day' WHERE id = :id", id=mine["id"]
    )
    with platform.sessions.begin() as session:
        now = platform.scalar("SELECT now()")
        assert collect_expired(session, platform.services.storage, now) == 1
    key = platform.scalar("SELECT storage_key FROM file WHERE id = :id", id=copy["id"])
    stored = platform.services.storage.path(key)
    # The copy says which job made it, and is no new result.
    assert (read_origin(stored).aigc or {})["ProduceID"] == first["id"]
    # The first job's file is gone: the third one is computed, not failed.
    assert not ask(platform)["usage"]["cached"]
    assert fake.runs == 2


@pytest.mark.parametrize(
    "fields",
    [
        {"cache": False},
        {"params": {"conf": 0.5}},
        {"params": {"img_size": 320}},
    ],
)
def test_another_question_or_a_caller_who_wants_it_anew_is_computed(
    platform: Platform, fake: FakeEngine, fields: dict[str, Any]
) -> None:
    ask(platform)
    again = ask(platform, **fields)
    assert fake.runs == 2
    assert not again["usage"]["cached"]
    assert again["usage"]["tokens"] > 0


def test_what_was_computed_anew_answers_the_next_question(
    platform: Platform, fake: FakeEngine
) -> None:
    ask(platform, cache=False)
    assert ask(platform)["usage"]["cached"]


def test_other_bytes_are_another_question(
    platform: Platform, fake: FakeEngine, tmp_path: Path
) -> None:
    ask(platform)
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64), "red").save(other)
    platform.upload(other)
    assert not ask(platform)["usage"]["cached"]


def test_a_result_is_given_again_for_a_day(platform: Platform, fake: FakeEngine) -> None:
    ask(platform)
    platform.change("UPDATE result_cache SET created_at = created_at - interval '24 hours'")
    assert not ask(platform)["usage"]["cached"]
    platform.change("UPDATE result_cache SET created_at = created_at - interval '24 hours'")
    with platform.sessions.begin() as session:
        forget_old(session)
    assert platform.scalar("SELECT count(*) FROM result_cache") == 0


def test_another_tenants_result_is_never_given(platform: Platform, fake: FakeEngine) -> None:
    first = ask(platform)
    platform.change(
        "INSERT INTO tenant (id, name, tenant_group, zone, mode, consent_mode, weight,"
        " max_in_flight, webhook_secret)"
        " VALUES ('ten_other', 'o', 'free', 'UTC', 'prepaid', 'request', 1, 1, '')"
    )
    platform.change("UPDATE result_cache SET tenant_id = 'ten_other'")
    assert not ask(platform)["usage"]["cached"]
    # Even a note that points at a stranger's job gives nothing.
    platform.change("UPDATE job SET tenant_id = 'ten_other' WHERE id = :id", id=first["id"])
    platform.change("UPDATE result_cache SET job_id = :id", id=first["id"])
    assert not ask(platform)["usage"]["cached"]


def test_a_failed_job_answers_nothing(platform: Platform, fake: FakeEngine) -> None:
    from engines.errors import InvalidInputError

    def fail(_: Any) -> None:
        raise InvalidInputError("no", code="image_truncated")

    fake.behave = fail
    assert run(platform, platform.submit(cache=True)) is JobStatus.FAILED
    fake.behave = lambda _: None
    assert not ask(platform)["usage"]["cached"]


def test_in_a_gathered_run_known_questions_are_answered_on_the_way(platform: Platform) -> None:
    fake = FakeBatchEngine(platform.registry)
    registry: Any = FakeRegistry(platform.registry, fake)
    platform.services.registry = registry
    ask(platform)
    jobs = [platform.submit(cache=False), *(platform.submit(cache=True) for _ in range(3))]
    run(platform, jobs[0])
    drain(platform.services)
    cached = [platform.job(job_id)["usage"]["cached"] for job_id in jobs]
    assert cached == [False, True, True, True]
    assert fake.runs == 2
    platform.reconcile()
