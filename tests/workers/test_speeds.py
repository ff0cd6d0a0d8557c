"""Forecasts against runs that really happened: the next runs take what was said before them."""

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import pytest
from sqlalchemy import text

from app.catalog.service import PreparedWork
from app.speeds.outlook import Outlook
from billing.rates import Work
from engines.spec import RunContext
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform
from workers.run_job import execute
from workers.settle import drain
from workers.speeds import measure_all

SLEEP_S = 0.06  # much longer than what a run costs besides


@pytest.fixture
def fake(platform: Platform) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    return registry.fake


def run(platform: Platform, jobs: int) -> list[float]:
    """Run so many jobs; returns how long each took by the database's clock, in seconds."""
    for _ in range(jobs):
        job_id = platform.submit()
        execute(platform.services, job_id=job_id, worker="gpu1@test")
    drain(platform.services)
    with platform.sessions() as session:
        newest = text(
            "SELECT extract(epoch FROM finished_at - started_at)::float8 FROM attempt"
            " ORDER BY job_id DESC LIMIT :jobs"
        )
        return list(session.scalars(newest, {"jobs": jobs}))


def forecast(platform: Platform, *, jobs: int = 1) -> dict[str, Any]:
    work = Work({"images": 1, "input_pixels": 640 * 640}, {"media": "image", "model": "builtin"})
    prepared = PreparedWork("detect", platform.registry.resolve("detect", "builtin"), {}, work)
    with platform.sessions() as session:
        told, _ = Outlook().forecast(
            session, tenant_id=platform.tenant, works=[(prepared, "normal")] * jobs
        )
    return told


def sleeping(seconds: Callable[[int], float]) -> Callable[[RunContext], None]:
    runs = iter(range(10_000))

    def behave(_: RunContext) -> None:
        time.sleep(seconds(next(runs)))

    return behave


def test_the_next_runs_take_what_was_forecast(platform: Platform, fake: FakeEngine) -> None:
    before = forecast(platform)
    assert (before["estimate_basis"], before["estimate_samples"]) == ("estimated", 0)
    # nine of ten are quick, every tenth takes four times as long
    fake.behave = sleeping(lambda run: SLEEP_S * (4 if run % 10 == 9 else 1))
    run(platform, 20)
    assert measure_all(platform.services) == 1
    told = forecast(platform)
    assert (told["estimate_basis"], told["estimate_samples"]) == ("measured", 20)
    took = run(platform, 20)
    # Both sides are times of this machine; a factor of 1.5 covers its noise, not a wrong method.
    assert told["estimated_seconds"] == pytest.approx(median(took), rel=0.5)
    assert SLEEP_S <= told["estimated_seconds"] < 4 * SLEEP_S
    assert sum(each <= 1.5 * told["estimated_seconds_p90"] for each in took) >= 16
    many = forecast(platform, jobs=10)
    assert many["estimated_seconds"] == pytest.approx(10 * told["estimated_seconds"], rel=0.01)


def test_a_queue_is_waited_for_and_nothing_is_said_without_a_worker(
    platform: Platform, fake: FakeEngine
) -> None:
    assert forecast(platform)["queue_wait_seconds"] is None
    platform.change(
        "INSERT INTO worker_heartbeat (worker, capacity, engines, device)"
        " VALUES ('gpu1', 1, '[\"detect\"]', 'cpu:test')"
    )
    assert forecast(platform)["queue_wait_seconds"] == 0
    for _ in range(5):
        platform.submit()
    waiting = platform.scalar("SELECT sum(estimated_ms) FROM job") / 1000
    assert forecast(platform)["queue_wait_seconds"] == pytest.approx(waiting)
