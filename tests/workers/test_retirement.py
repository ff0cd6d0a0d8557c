"""The memory of a version that was switched away comes back; the active one stays."""

from pathlib import Path

import psutil
import pytest

from app.jobs.states import JobStatus
from engines.activation import activate, activate_previous
from tests.networks import write_one_box
from tests.workers.miniature import Platform
from workers.retirement import Retirement
from workers.run_job import execute

BALLAST = 10_000_000  # floats: 40 MB of weights, and as much again inside the runtime
BALLAST_BYTES = 4 * BALLAST


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(platform: Platform) -> Clock:
    clock = Clock()
    platform.services.retirement = Retirement(clock=clock)
    return clock


@pytest.fixture
def versions(platform: Platform, tmp_path: Path) -> None:
    """Two versions of yolov8s that find different things; the first is active."""
    for class_id in (0, 2):
        path = write_one_box(tmp_path / f"{class_id}.onnx", class_id=class_id, ballast=BALLAST)
        platform.registry.add("yolov8s", path, licence="MIT", activate=False)


def run(platform: Platform) -> str:
    """One job on what the plain name means now; returns what was found."""
    platform.catalog._resolved.clear()
    job_id = platform.submit(model="yolov8s", params={"img_size": 64})
    ended = execute(platform.services, job_id=job_id, worker="gpu1@test", engines=["detect"])
    assert ended is JobStatus.SUCCEEDED, platform.job(job_id)["error"]
    job = platform.job(job_id)
    return f"{job['model']} {job['output']['data']['predictions'][0]['label']}"


def resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def test_after_a_switch_the_old_version_is_let_go_and_can_come_back(
    platform: Platform, versions: None, clock: Clock
) -> None:
    assert run(platform) == "yolov8s@1 person"
    activate(platform.registry, "detect", "yolov8s@2")
    assert run(platform) == "yolov8s@2 car"
    both = resident_bytes()
    clock.now += 11
    assert run(platform) == "yolov8s@2 car"
    assert both - resident_bytes() > BALLAST_BYTES * 0.7
    activate_previous(platform.registry, "detect", "yolov8s")
    assert run(platform) == "yolov8s@1 person"
    platform.services.registry.sessions.close()


def test_what_is_active_or_in_use_stays(platform: Platform, versions: None, clock: Clock) -> None:
    run(platform)
    clock.now += 100
    assert platform.services.retirement.let_go(platform.services.registry) == []
    platform.services.retirement.used("detect", "yolov8s@1")
    activate(platform.registry, "detect", "yolov8s@2")
    assert platform.services.retirement.let_go(platform.services.registry) == []
    clock.now += 100
    assert platform.services.retirement.let_go(platform.services.registry) == ["yolov8s@1"]
    platform.services.registry.sessions.close()
