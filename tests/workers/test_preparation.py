"""A plan that is missing is built while the job is starting, under its lease."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from app.jobs.states import JobStatus
from engines.errors import EngineFaultError, ExhaustedError
from engines.opening import NetworkSource
from engines.registry import open_registry
from engines.runners.base import Runner
from engines.runners.ort import open_onnx
from engines.sessions import Sessions
from tests.networks import write_one_box
from tests.workers.miniature import Platform
from tests.workers.processes import wait_until
from workers.readiness import Readiness
from workers.run_job import execute

MODEL = "yolov8s"


class SlowBuilder:
    """A host with TensorRT in miniature: opening a network builds its plan until it is let go."""

    may_use_plans = True

    def __init__(self) -> None:
        self.plans: set[str] = set()
        self.builds = 0
        self.building = threading.Event()
        self.go_on = threading.Event()
        self.failure: Exception | None = None

    def must_build(self, source: NetworkSource) -> bool:
        return source.sha256 not in self.plans

    def __call__(self, source: NetworkSource, *, threads: int) -> Runner:
        if self.must_build(source):
            self.builds += 1
            self.building.set()
            assert self.go_on.wait(30)
            if self.failure is not None:
                raise self.failure
            self.plans.add(source.sha256)
        return open_onnx(source.path, threads=threads)


@pytest.fixture
def builder(platform: Platform) -> Iterator[SlowBuilder]:
    """The platform on such a host, with weights and no plan."""
    builder = SlowBuilder()
    store = platform.settings.home / "models"
    registry = open_registry(store=store, sessions=Sessions(threads=1, open_runner=builder))
    registry.add(MODEL, write_one_box(platform.settings.home / "box.onnx"), licence="MIT")
    platform.services.registry = registry
    platform.services.readiness = Readiness(builder)
    yield builder
    builder.go_on.set()


def begin(platform: Platform, job_id: str) -> tuple[threading.Thread, list[Any]]:
    results: list[Any] = []

    def work() -> None:
        results.append(execute(platform.services, job_id=job_id, worker="gpu1@test"))

    thread = threading.Thread(target=work)
    thread.start()
    return thread, results


def submit(platform: Platform, **fields: Any) -> str:
    return platform.submit(model=MODEL, params={"img_size": 64}, **fields)


def test_a_job_stays_starting_while_its_plan_is_built_and_keeps_its_lease(
    platform: Platform, builder: SlowBuilder
) -> None:
    job_id = submit(platform)
    thread, results = begin(platform, job_id)
    assert builder.building.wait(30)
    first = platform.job(job_id)
    assert (first["status"], first["lease_owner"]) == ("starting", "gpu1@test")
    wait_until(
        lambda: platform.job(job_id)["lease_expires_at"] > first["lease_expires_at"],
        what="the lease renewed during the build",
    )
    assert platform.job(job_id)["status"] == "starting"
    assert execute(platform.services, job_id=job_id, worker="gpu2@test") is None
    builder.go_on.set()
    thread.join(30)
    assert results == [JobStatus.SUCCEEDED]
    assert platform.job(job_id)["output"]["data"]["predictions"]
    assert builder.builds == 1


def test_the_start_is_announced_when_the_plan_is_there(
    platform: Platform, builder: SlowBuilder
) -> None:
    hook = {"url": "https://example.com/hook", "events": ["job.started"]}
    thread, _ = begin(platform, submit(platform, webhook=hook))
    assert builder.building.wait(30)
    assert platform.scalar("SELECT count(*) FROM webhook_event") == 0
    builder.go_on.set()
    thread.join(30)
    told = platform.scalar("SELECT body::jsonb FROM webhook_event WHERE type = 'job.started'")
    assert told["data"]["status"] == "processing"


def test_with_its_plan_the_next_job_begins_at_once(
    platform: Platform, builder: SlowBuilder
) -> None:
    builder.go_on.set()
    ready = platform.services.readiness
    for _ in range(2):
        thread, results = begin(platform, submit(platform))
        thread.join(30)
        assert results == [JobStatus.SUCCEEDED]
        assert ready.is_ready("detect", f"{MODEL}@1")
    assert builder.builds == 1


def test_a_job_canceled_during_the_build_ends_without_a_run_and_the_plan_stays(
    platform: Platform, builder: SlowBuilder
) -> None:
    job_id = submit(platform)
    thread, results = begin(platform, job_id)
    assert builder.building.wait(30)
    platform.cancel(job_id)
    asked = platform.job(job_id)["lease_expires_at"]
    wait_until(
        lambda: platform.job(job_id)["lease_expires_at"] > asked, what="the wish to be heard"
    )
    builder.go_on.set()
    thread.join(30)
    assert results == [JobStatus.CANCELED]
    assert platform.job(job_id)["output"] is None
    assert len(builder.plans) == 1


@pytest.mark.parametrize(
    "failure",
    [
        EngineFaultError("no parser", code="weights_unreadable"),
        ExhaustedError("the disk is full"),
        ZeroDivisionError("a bug"),
    ],
)
def test_a_build_that_fails_ends_the_attempt_and_the_next_one_builds_again(
    platform: Platform, builder: SlowBuilder, failure: Exception
) -> None:
    builder.failure = failure
    builder.go_on.set()
    job_id = submit(platform)
    thread, results = begin(platform, job_id)
    thread.join(30)
    assert results == [JobStatus.QUEUED]
    assert platform.scalar("SELECT usage_report FROM attempt WHERE job_id = :id", id=job_id) is None
    assert builder.builds == 1
    builder.failure = None
    again, results = begin(platform, job_id)
    again.join(30)
    assert results == [JobStatus.SUCCEEDED]
    assert platform.job(job_id)["attempt"] == 2
