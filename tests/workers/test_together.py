"""Many attempts in one run, with a fake engine on a real database."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from app.jobs.states import JobStatus
from engines.errors import ExhaustedError, InvalidInputError
from engines.spec import Outcome, OutputFile, RunContext, RunItem
from tests.workers.miniature import FakeBatchEngine, FakeRegistry, Platform
from workers import conclusion, gathering
from workers.run_job import execute
from workers.settle import drain
from workers.work_folders import work_root


@pytest.fixture
def fake(platform: Platform) -> FakeBatchEngine:
    registry: Any = FakeRegistry(platform.registry, FakeBatchEngine(platform.registry))
    platform.services.registry = registry
    return registry.fake


def run(platform: Platform, job_id: str) -> JobStatus | None:
    return execute(platform.services, job_id=job_id, worker="gpu1@test", engines=["detect"])


def statuses(platform: Platform, jobs: list[str]) -> list[str]:
    return [platform.job(job_id)["status"] for job_id in jobs]


def charges(platform: Platform) -> int:
    return int(platform.scalar("SELECT count(*) FROM billing.usage_record"))


def test_one_message_brings_every_compatible_job_and_their_messages_find_nothing(
    platform: Platform, fake: FakeBatchEngine
) -> None:
    jobs = [platform.submit() for _ in range(19)]
    assert run(platform, jobs[0]) is JobStatus.SUCCEEDED
    assert fake.batches == [19]
    assert statuses(platform, jobs) == ["succeeded"] * 19
    assert all(run(platform, job_id) is None for job_id in jobs[1:3])
    assert (fake.runs, charges(platform)) == (19, 19)
    attempts = platform.scalar("SELECT count(*) FROM attempt WHERE outcome = 'succeeded'")
    assert attempts == 19
    drain(platform.services)
    settled = [platform.job(job_id)["usage"]["tokens"] for job_id in jobs]
    assert settled == [settled[0]] * 19
    assert list(work_root(platform.services).iterdir()) == []
    platform.reconcile()


def test_jobs_of_another_size_or_model_wait_for_their_own_message(
    platform: Platform, fake: FakeBatchEngine
) -> None:
    first, small, fits = (
        platform.submit(),
        platform.submit(params={"img_size": 320}),
        platform.submit(params={"conf": 0.5}),
    )
    run(platform, first)
    assert statuses(platform, [first, small, fits]) == ["succeeded", "queued", "succeeded"]
    assert run(platform, small) is JobStatus.SUCCEEDED


def test_a_worker_takes_along_only_what_it_serves(
    platform: Platform, fake: FakeBatchEngine
) -> None:
    first, other = platform.submit(), platform.submit()
    execute(platform.services, job_id=first, worker="gpu1@test", engines=[])
    assert statuses(platform, [first, other]) == ["succeeded", "queued"]


def test_a_job_of_a_better_class_stops_the_gathering_of_worse_ones(
    platform: Platform, fake: FakeBatchEngine
) -> None:
    bulk = [platform.submit(priority="bulk") for _ in range(3)]
    pressing = platform.submit(priority="interactive", params={"img_size": 320})
    run(platform, bulk[0])
    assert statuses(platform, [*bulk, pressing]) == ["succeeded", "queued", "queued", "queued"]


def test_a_run_ends_in_time_for_others(
    platform: Platform, fake: FakeBatchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "STREAM_S", 0.0)
    jobs = [platform.submit() for _ in range(3)]
    run(platform, jobs[0])
    assert statuses(platform, jobs) == ["succeeded", "queued", "queued"]


def _on_run(number: int, act: Callable[[RunContext], None]) -> Callable[[RunContext], None]:
    """Act in one run of the stream, counted from 1."""
    seen = iter(range(1, 1000))

    def behave(context: RunContext) -> None:
        if next(seen) == number:
            act(context)

    return behave


def _raising(error: Exception) -> Callable[[RunContext], None]:
    def act(_: RunContext) -> None:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInputError("no picture", code="image_truncated"), "failed"),
        (ExhaustedError("no memory"), "queued"),
        (ZeroDivisionError("a bug"), "queued"),
    ],
)
def test_a_bad_item_fails_alone(
    platform: Platform, fake: FakeBatchEngine, error: Exception, status: str
) -> None:
    jobs = [platform.submit() for _ in range(6)]
    fake.behave = _on_run(3, _raising(error))
    run(platform, jobs[0])
    assert statuses(platform, jobs) == [*["succeeded"] * 2, status, *["succeeded"] * 3]
    drain(platform.services)
    platform.reconcile()


def test_a_job_that_was_tried_before_runs_alone(platform: Platform, fake: FakeBatchEngine) -> None:
    first, other = platform.submit(), platform.submit()
    fake.behave = _on_run(1, _raising(ExhaustedError("no memory")))
    run(platform, first)
    assert statuses(platform, [first, other]) == ["queued", "succeeded"]
    later = platform.submit()
    assert run(platform, first) is JobStatus.SUCCEEDED
    assert statuses(platform, [first, later]) == ["succeeded", "queued"]


def test_an_item_whose_picture_is_gone_fails_alone(
    platform: Platform, fake: FakeBatchEngine, photo: Any
) -> None:
    kept = platform.file
    lost = platform.upload(photo)
    jobs = [platform.submit(input={"target": {"file": file}}) for file in (kept, lost, kept)]
    platform.services.storage.delete(
        platform.scalar("SELECT storage_key FROM file WHERE id = :id", id=lost)
    )
    run(platform, jobs[0])
    assert statuses(platform, jobs) == ["succeeded", "failed", "succeeded"]
    assert platform.job(jobs[1])["error"]["code"] == "input_gone"


def test_a_job_canceled_under_way_is_canceled_alone(
    platform: Platform, fake: FakeBatchEngine
) -> None:
    jobs = [platform.submit() for _ in range(4)]

    def ask_and_look(context: RunContext) -> None:
        platform.cancel(jobs[1])
        for lease in platform.services.renewer._leases:
            lease.renew_now()
        context.checkpoint()

    fake.behave = _on_run(2, ask_and_look)
    run(platform, jobs[0])
    assert statuses(platform, jobs) == ["succeeded", "canceled", "succeeded", "succeeded"]


def test_a_lost_lease_spoils_nothing_of_the_others(
    platform: Platform, fake: FakeBatchEngine
) -> None:
    jobs = [platform.submit() for _ in range(5)]

    def lose_the_second(_: RunContext) -> None:
        platform.change(
            "UPDATE job SET status = 'queued', lease_expires_at = NULL, lease_owner = NULL,"
            " started_at = NULL, start_deadline_at = now() - interval '1 s' WHERE id = :id",
            id=jobs[1],
        )

    fake.behave = _on_run(4, lose_the_second)
    run(platform, jobs[0])
    assert statuses(platform, jobs) == ["succeeded", "queued", *["succeeded"] * 3]
    assert charges(platform) == 4


def test_results_with_files_are_stored_each_with_its_job(
    platform: Platform, fake: FakeBatchEngine, photo: Any
) -> None:
    fake.outputs = (OutputFile(photo, "image/png", "result.png"),)
    jobs = [platform.submit() for _ in range(3)]
    run(platform, jobs[0])
    owners = {platform.job(job_id)["output"]["files"][0]["id"] for job_id in jobs}
    assert len(owners) == 3


def test_an_engine_that_breaks_gives_back_what_was_under_way(
    platform: Platform, fake: FakeBatchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(items: Iterable[RunItem]) -> Iterator[Outcome]:
        source = iter(items)
        first, *_ = (next(source) for _ in range(4))
        yield fake.run(first.model, first.params, first.files, first.context)
        raise RuntimeError("the device fell off the bus")

    monkeypatch.setattr(fake, "run_many", break_down)
    jobs = [platform.submit() for _ in range(4)]
    assert run(platform, jobs[0]) is JobStatus.SUCCEEDED
    assert statuses(platform, jobs) == ["succeeded", *["queued"] * 3]
    attempts = platform.scalar("SELECT count(*) FROM attempt WHERE outcome = 'failed'")
    assert attempts == 3


def test_ends_that_cannot_be_written_leave_no_lease_alive(
    platform: Platform, fake: FakeBatchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that stays away: the jobs are found again when their leases run out."""

    def away(*_: Any, **__: Any) -> None:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(conclusion, "PERSIST_FOR_S", 0.1)
    monkeypatch.setattr(conclusion, "finish_without_files", away)
    jobs = [platform.submit() for _ in range(3)]
    with pytest.raises(OperationalError):
        run(platform, jobs[0])
    assert platform.services.renewer._leases == frozenset()
    assert statuses(platform, jobs) == ["processing"] * 3
    assert list(work_root(platform.services).iterdir()) == []


def test_a_database_that_is_away_ends_the_gathering_and_not_the_run(
    platform: Platform, fake: FakeBatchEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise OperationalError("", {}, Exception("away"))

    monkeypatch.setattr(gathering.Gatherer, "_take", away)
    jobs = [platform.submit() for _ in range(2)]
    assert run(platform, jobs[0]) is JobStatus.SUCCEEDED
    assert statuses(platform, jobs) == ["succeeded", "queued"]
