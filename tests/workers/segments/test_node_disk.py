"""Disk of a node: reserved by what runs, waited for, refused when it never suffices."""

from pathlib import Path
from typing import Any

import pytest

from app.jobs import segments
from app.jobs.states import JobStatus
from engines.media.delivery import Quality
from engines.media.footprint import bytes_per_frame
from engines.media.index import index_video
from tests.workers.segments.cinema import Cinema
from workers.node_disk import NodeDisk
from workers.segments.planning import work_bytes


@pytest.fixture
def part(clip: Path) -> int:
    """What is reserved for one of eight segments."""
    return work_bytes(8, bytes_per_frame(index_video(clip), Quality.HIGH))


def beat(cinema: Cinema, disk_bytes: int, worker: str = "gpu1@node") -> None:
    cinema.platform.change(
        "INSERT INTO worker_heartbeat (worker, capacity, engines, device, disk_bytes)"
        " VALUES (:worker, 1, '[\"digest\", \"colorize\"]', 'cpu', :disk_bytes)",
        worker=worker,
        disk_bytes=disk_bytes,
    )


def budget(cinema: Cinema, disk_bytes: int) -> None:
    services: Any = cinema.services
    services.node_disk = NodeDisk(disk_bytes)


def claim_elsewhere(cinema: Cinema, job_id: str, number: int, worker: str) -> None:
    with cinema.platform.sessions.begin() as session:
        assert segments.claim(session, job_id=job_id, number=number, worker=worker, lease_s=60)


def test_a_segment_waits_while_its_node_is_full_and_goes_to_another(
    cinema: Cinema, part: int
) -> None:
    job_id = cinema.cut()
    budget(cinema, 2 * part)
    for number in (0, 1):
        claim_elsewhere(cinema, job_id, number, f"gpu{number}@node")
    cinema.platform.change("UPDATE segment SET dispatched_at = now() WHERE number = 2")
    assert cinema.run(job_id, 2) is None
    waiting = cinema.segment(job_id, 2)
    assert (waiting["status"], waiting["attempt"], waiting["dispatched_at"]) == ("waiting", 0, None)
    assert cinema.run(job_id, 2, worker="gpu1@other") is JobStatus.PROCESSING


def test_a_dead_worker_holds_its_share_no_longer_than_its_lease(cinema: Cinema, part: int) -> None:
    job_id = cinema.cut()
    budget(cinema, part)
    claim_elsewhere(cinema, job_id, 0, "gpu9@node")
    assert cinema.run(job_id, 1) is None
    cinema.expire(job_id, 0)
    with cinema.platform.sessions.begin() as session:
        segments.rescue_expired(session)
    assert cinema.run(job_id, 1) is JobStatus.PROCESSING


def test_a_video_that_fits_on_no_worker_is_refused_before_anything_runs(
    cinema: Cinema, part: int
) -> None:
    beat(cinema, 8 * part - 1)
    job_id = cinema.submit()
    assert cinema.start(job_id) is JobStatus.FAILED
    error = cinema.job(job_id)["error"]
    assert error["code"] == "disk_budget_too_small"
    assert str(8 * part) in error["detail"]
    assert "PIXELMETER_WORK_DISK_BYTES" in error["detail"]
    assert cinema.settle(job_id)["charged"] == 0
    cinema.assert_nothing_is_left()


def test_a_lossless_result_is_refused_where_one_of_high_quality_has_room(
    cinema: Cinema, part: int
) -> None:
    beat(cinema, 8 * part)
    asked = {"engine": "colorize", "model": "builtin", "segments": 8}
    high = cinema.platform.submit(**asked, params={"type": "building"})
    assert cinema.start(high) is JobStatus.PROCESSING
    assert {each["work_bytes"] for each in cinema.segments(high)} == {part}
    exact = cinema.platform.submit(**asked, params={"type": "building", "quality": "lossless"})
    assert cinema.start(exact) is JobStatus.FAILED
    error = cinema.job(exact)["error"]
    assert error["code"] == "disk_budget_too_small"
    assert "lower quality" in error["detail"]


def test_budgets_that_shrink_later_fail_the_job_too(cinema: Cinema, part: int) -> None:
    job_id = cinema.cut()
    beat(cinema, part - 1)
    budget(cinema, part - 1)
    assert cinema.run(job_id, 0) is JobStatus.FAILED
    assert cinema.job(job_id)["error"]["code"] == "disk_budget_too_small"
    cinema.settle(job_id)
    cinema.assert_nothing_is_left()


def test_a_join_waits_for_room_as_segments_do(cinema: Cinema) -> None:
    job_id = cinema.cut(segments=2)
    cinema.run_all(job_id)
    other = cinema.cut(segments=2)
    claim_elsewhere(cinema, other, 0, "gpu2@node")
    budget(cinema, sum(each["work_bytes"] for each in cinema.segments(job_id)))
    assert cinema.finalize(job_id) is None
    assert cinema.finalize(job_id, worker="gpu1@other") is JobStatus.SUCCEEDED


def test_a_join_that_fits_nowhere_any_more_fails_the_job(cinema: Cinema, part: int) -> None:
    job_id = cinema.cut(segments=2)
    cinema.run_all(job_id)
    beat(cinema, part)
    budget(cinema, part)
    assert cinema.finalize(job_id) is JobStatus.FAILED
    assert cinema.job(job_id)["error"]["code"] == "disk_budget_too_small"
    cinema.settle(job_id)
    cinema.assert_nothing_is_left()


def test_the_operators_word_goes_before_what_is_free(tmp_path: Any) -> None:
    assert NodeDisk.measured(tmp_path, setting_bytes=5).budget_bytes == 5
    assert NodeDisk.measured(tmp_path, setting_bytes=0).budget_bytes > 1_000_000
    with pytest.raises(AttributeError):
        NodeDisk(1).budget_bytes = 2  # type: ignore[misc]
