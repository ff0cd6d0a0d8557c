"""A video in segments, on a real database and real storage; workers are calls."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from app.jobs import segment_joins, segments
from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import renew as renew_job
from app.jobs.record import Progress
from app.jobs.states import JobStatus
from tests.workers.segments.cinema import WORKER, Cinema
from workers.attempt_lease import LEASE_S
from workers.segments.cleaning import clean_ended
from workers.segments.part_store import PartStore, key_of
from workers.sweep import sweep_promises


def test_eight_segments_give_what_one_run_gives_and_are_charged_once(cinema: Cinema) -> None:
    whole = cinema.submit(segments=1)
    assert cinema.start(whole) is JobStatus.SUCCEEDED
    parts = cinema.cut()
    assert [each["frames"] for each in cinema.segments(parts)] == [8] * 8
    cinema.run_all(parts)
    assert cinema.finalize(parts) is JobStatus.SUCCEEDED
    assert cinema.output(parts) == cinema.output(whole)
    assert cinema.job(parts)["output"]["data"] == {"frames": 64}
    one, eight = cinema.usage_record(whole), cinema.usage_record(parts)
    assert eight["quantities"]["frames"] == one["quantities"]["frames"] == 64
    assert cinema.settle(parts)["charged"] == 32_000_000
    job = cinema.job(parts)
    assert (job["progress_done"], job["progress_total"]) == (64, 64)
    assert job["usage"]["gpu_ms"] == round(
        sum(_gpu_ms(each["usage_report"]) for each in cinema.segments(parts)), 3
    )
    cinema.assert_nothing_is_left()


def _gpu_ms(report: dict[str, Any]) -> float:
    return sum(report["stages_ms"].values())


def test_a_job_in_segments_has_no_lease_and_nobody_rescues_it(cinema: Cinema) -> None:
    job_id = cinema.cut()
    job = cinema.job(job_id)
    assert (job["status"], job["segments"], job["lease_expires_at"]) == ("processing", 8, None)
    sweep_promises(cinema.services)
    assert cinema.job(job_id)["status"] == "processing"
    assert cinema.start(job_id) is None  # a late message of the job itself


def test_a_late_renewal_by_who_cut_the_video_gives_the_job_no_lease_back(cinema: Cinema) -> None:
    job_id = cinema.cut()
    with pytest.raises(StaleFenceError), cinema.platform.sessions.begin() as session:
        renew_job(session, job_id=job_id, attempt=1, lease_s=LEASE_S)
    assert cinema.job(job_id)["lease_expires_at"] is None


def test_segments_count_themselves_and_only_then_the_job_can_be_finalized(cinema: Cinema) -> None:
    job_id = cinema.cut()
    for number in (3, 1, 0, 2, 7, 6, 5):
        cinema.run(job_id, number)
        assert cinema.finalize(job_id) is None
    assert cinema.run(job_id, 3) is None  # a duplicate message
    assert cinema.job(job_id)["segments_done"] == 7
    cinema.run(job_id, 4)
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED


def test_two_last_segments_that_end_at_once_are_counted_one_after_the_other(
    cinema: Cinema,
) -> None:
    job_id = cinema.cut(segments=2, params={"frame_ms": 5})
    threads = [
        threading.Thread(
            target=cinema.run, args=(job_id, number), kwargs={"worker": f"gpu{number}@n"}
        )
        for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert cinema.job(job_id)["segments_done"] == 2
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED


def test_of_two_finalizers_at_once_one_finds_nothing(cinema: Cinema) -> None:
    job_id = cinema.cut(params={"frame_ms": 20})
    cinema.run_all(job_id)
    ended: list[JobStatus | None] = []
    threads = [
        threading.Thread(
            target=lambda n=n: ended.append(cinema.finalize(job_id, worker=f"cpu{n}@n"))
        )
        for n in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ended, key=str) == [None, JobStatus.SUCCEEDED]
    assert cinema.platform.scalar("SELECT count(*) FROM billing.usage_record") == 1
    cinema.assert_nothing_is_left()


def test_a_finalizer_that_died_is_followed_by_another_and_can_write_nothing(
    cinema: Cinema,
) -> None:
    job_id = cinema.cut()
    cinema.run_all(job_id)
    with cinema.platform.sessions.begin() as session:
        dead = segment_joins.claim_join(session, job_id=job_id, worker="cpu1@dead", lease_s=LEASE_S)
    assert dead is not None
    cinema.platform.change("UPDATE job SET lease_expires_at = clock_timestamp() - interval '1 s'")
    sweep_promises(cinema.services)
    job = cinema.job(job_id)
    assert (job["status"], job["lease_expires_at"]) == ("finalizing", None)
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    with pytest.raises(StaleFenceError), cinema.platform.sessions.begin() as session:
        segment_joins.reopen(session, claimed=dead, numbers=[0], error={})
    assert cinema.job(job_id)["status"] == "succeeded"
    cinema.assert_nothing_is_left()


def test_a_finalizer_is_lost_three_times_before_the_job_fails(cinema: Cinema) -> None:
    job_id = cinema.cut()
    cinema.run_all(job_id)
    for _ in range(3):
        assert cinema.job(job_id)["finished_at"] is None
        with cinema.platform.sessions.begin() as session:
            assert segment_joins.claim_join(session, job_id=job_id, worker="cpu1@dead", lease_s=-1)
        sweep_promises(cinema.services)
    job = cinema.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "attempts_exhausted")
    assert cinema.settle(job_id)["charged"] == 0
    sweep_promises(cinema.services)
    cinema.assert_nothing_is_left()


def test_a_lost_segment_is_run_again_and_its_late_worker_writes_nothing(cinema: Cinema) -> None:
    job_id = cinema.cut()
    with cinema.platform.sessions.begin() as session:
        late = segments.claim(session, job_id=job_id, number=2, worker="gpu9@dead", lease_s=LEASE_S)
    assert late is not None
    cinema.expire(job_id, 2)
    sweep_promises(cinema.services)
    cinema.run_all(job_id)
    with pytest.raises(StaleFenceError), cinema.platform.sessions.begin() as session:
        segments.give_back(session, claimed=late, error={"code": "late"})
    with pytest.raises(StaleFenceError), cinema.platform.sessions.begin() as session:
        segments.renew(session, claimed=late, lease_s=LEASE_S, progress=None)
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    assert [each for each in cinema.outcomes(job_id) if each[0] == 2] == [
        (2, 1, "lost"),
        (2, 2, "done"),
    ]
    assert len(cinema.outcomes(job_id)) == 9
    cinema.assert_nothing_is_left()


def test_the_job_fails_when_a_segment_was_lost_three_times_and_everything_is_released(
    cinema: Cinema,
) -> None:
    job_id = cinema.cut()
    cinema.run(job_id, 0)
    for _ in range(3):
        with cinema.platform.sessions.begin() as session:
            assert segments.claim(session, job_id=job_id, number=5, worker="gpu9@dead", lease_s=-1)
        sweep_promises(cinema.services)
    job = cinema.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "attempts_exhausted")
    assert cinema.settle(job_id)["charged"] == 0
    assert cinema.run(job_id, 1) is None
    cinema.assert_nothing_is_left()


def test_a_retry_takes_a_whole_stored_result_and_computes_nothing(
    cinema: Cinema, tmp_path: Path
) -> None:
    """The worker died between storing its result and saying so."""
    job_id = cinema.cut()
    _store_and_die(cinema, job_id, 4, tmp_path)
    cinema.run_all(job_id)
    assert [each for each in cinema.outcomes(job_id) if each[0] == 4] == [
        (4, 1, "lost"),
        (4, 2, "found"),
    ]
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    assert cinema.usage_record(job_id)["quantities"]["frames"] == 64
    cinema.assert_nothing_is_left()


@pytest.mark.parametrize("damage", ["longer", "other", "gone", "note"])
def test_a_stored_result_that_is_not_whole_is_computed_again(
    cinema: Cinema, tmp_path: Path, damage: str
) -> None:
    job_id = cinema.cut()
    name = _store_and_die(cinema, job_id, 4, tmp_path)
    file = cinema.services.storage.path(key_of(job_id, f"{name}.1.0"))
    match damage:
        case "longer":
            file.write_bytes(file.read_bytes() + b"x")
        case "other":
            file.write_bytes(b"x" + file.read_bytes()[1:])
        case "gone":
            file.unlink()
        case _:
            cinema.services.storage.path(key_of(job_id, name)).write_bytes(b"{")
    cinema.run_all(job_id)
    assert (4, 2, "done") in cinema.outcomes(job_id)
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    cinema.assert_nothing_is_left()


def _store_and_die(cinema: Cinema, job_id: str, number: int, folder: Path) -> str:
    """What is left of a worker that was killed after it had stored its result."""

    class DiedError(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise DiedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "end_done", die)
        with pytest.raises(DiedError):
            cinema.run(job_id, number)
    cinema.expire(job_id, number)
    sweep_promises(cinema.services)
    name = cinema.segment(job_id, number)["object_name"]
    assert PartStore(cinema.services.storage, job_id).find(name, folder=folder) is not None
    return str(name)


def test_a_result_that_vanished_before_the_end_is_computed_again(cinema: Cinema) -> None:
    job_id = cinema.cut()
    cinema.run_all(job_id)
    cinema.services.storage.delete(cinema.segment(job_id, 6)["files"][0]["key"])
    assert cinema.finalize(job_id) is JobStatus.PROCESSING
    assert cinema.job(job_id)["segments_done"] == 7
    assert cinema.run(job_id, 6) is JobStatus.PROCESSING
    assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    cinema.assert_nothing_is_left()


def test_bad_input_in_one_segment_fails_the_job_once(cinema: Cinema) -> None:
    job_id = cinema.cut(params={"bad_frame": 20})
    cinema.run(job_id, 0)
    assert cinema.run(job_id, 2) is JobStatus.FAILED
    job = cinema.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "bad_frame")
    assert cinema.run(job_id, 3) is None
    assert {each["status"] for each in cinema.segments(job_id)} == {"done", "dropped"}
    assert cinema.settle(job_id)["charged"] == 0
    cinema.assert_nothing_is_left()


def test_a_failure_stops_the_segments_that_run_and_they_store_nothing(cinema: Cinema) -> None:
    job_id = cinema.cut(params={"bad_frame": 20, "frame_ms": 300})
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(cinema.run(job_id, 5)))
    thread.start()
    _until(lambda: cinema.segment(job_id, 5)["status"] == "running")
    assert cinema.run(job_id, 2, worker="gpu2@node") is JobStatus.FAILED
    thread.join(10)
    assert ended == [None]
    assert cinema.segment(job_id, 5)["status"] == "dropped"
    cinema.assert_nothing_is_left()


def test_what_another_attempt_may_repair_is_tried_three_times_and_only_that_segment(
    cinema: Cinema,
) -> None:
    job_id = cinema.cut(params={"broken_frame": 20})
    outcomes = [cinema.run(job_id, 2) for _ in range(3)]
    assert outcomes == [JobStatus.PROCESSING, JobStatus.PROCESSING, JobStatus.FAILED]
    assert cinema.job(job_id)["error"]["code"] == "engine_fault"
    assert [each[:2] for each in cinema.outcomes(job_id)] == [(2, 1), (2, 2), (2, 3)]
    cinema.assert_nothing_is_left()


def test_a_cancel_stops_every_segment_within_two_seconds_and_bills_the_work_done(
    cinema: Cinema,
) -> None:
    job_id = cinema.cut(params={"frame_ms": 0})
    cinema.run(job_id, 0)
    cinema.platform.change("UPDATE job SET params = jsonb_set(params, '{frame_ms}', '400')")
    threads = [
        threading.Thread(target=cinema.run, args=(job_id, n), kwargs={"worker": f"gpu{n}@node"})
        for n in (1, 2)
    ]
    for thread in threads:
        thread.start()
    _until(lambda: cinema.job(job_id)["progress_done"] > 8)
    asked = time.monotonic()
    cinema.platform.cancel(job_id)
    for thread in threads:
        thread.join(10)
    assert time.monotonic() - asked < 2.5  # a loaded machine is granted half a second
    job = cinema.job(job_id)
    assert job["status"] == "canceled"
    frames = cinema.usage_record(job_id)["quantities"]["frames"]
    assert 8 < frames < 24
    assert cinema.settle(job_id)["charged"] == frames * 500_000
    assert cinema.run(job_id, 3) is None
    cinema.assert_nothing_is_left()


def test_a_cancel_between_segments_is_heard_by_the_clock(cinema: Cinema) -> None:
    job_id = cinema.cut()
    cinema.run(job_id, 0)
    cinema.platform.cancel(job_id)
    assert cinema.run(job_id, 1) is None
    sweep_promises(cinema.services)
    assert cinema.job(job_id)["status"] == "canceled"
    assert cinema.usage_record(job_id)["quantities"]["frames"] == 8
    cinema.settle(job_id)
    cinema.assert_nothing_is_left()


def test_a_cancel_while_finalizing_bills_all_segments(cinema: Cinema) -> None:
    job_id = cinema.cut(params={"frame_ms": 300}, segments=4)
    cinema.platform.change("UPDATE job SET params = jsonb_set(params, '{frame_ms}', '0')")
    cinema.run_all(job_id)
    cinema.platform.change("UPDATE job SET params = jsonb_set(params, '{frame_ms}', '1500')")
    ended: list[Any] = []
    thread = threading.Thread(target=lambda: ended.append(cinema.finalize(job_id)))
    thread.start()
    _until(lambda: cinema.job(job_id)["status"] == "finalizing")
    cinema.platform.cancel(job_id)
    thread.join(15)
    assert ended == [JobStatus.CANCELED]
    assert cinema.usage_record(job_id)["quantities"]["frames"] == 64
    cinema.settle(job_id)
    cinema.assert_nothing_is_left()


def test_a_canceled_job_whose_worker_died_is_charged_what_the_others_did(cinema: Cinema) -> None:
    job_id = cinema.cut()
    cinema.run(job_id, 0)
    with cinema.platform.sessions.begin() as session:
        segments.claim(session, job_id=job_id, number=1, worker="gpu9@dead", lease_s=-1)
    cinema.platform.cancel(job_id)
    sweep_promises(cinema.services)
    assert cinema.job(job_id)["status"] == "canceled"
    assert cinema.usage_record(job_id)["quantities"]["frames"] == 8
    cinema.settle(job_id)
    cinema.assert_nothing_is_left()


def test_progress_is_the_sum_over_segments(cinema: Cinema) -> None:
    job_id = cinema.cut(params={"frame_ms": 0})
    cinema.run(job_id, 0)
    cinema.run(job_id, 1)
    job = cinema.job(job_id)
    assert (job["progress_done"], job["progress_total"]) == (16, 64)
    with cinema.platform.sessions.begin() as session:
        running = [
            segments.claim(session, job_id=job_id, number=n, worker=WORKER, lease_s=LEASE_S)
            for n in (2, 3)
        ]
    for each, fps in zip(running, (10.0, 5.5), strict=True):
        assert each is not None
        with cinema.platform.sessions.begin() as session:
            progress = Progress(done=4, total=8, unit="frames", fps=fps)
            segments.renew(session, claimed=each, lease_s=LEASE_S, progress=progress)
    job = cinema.job(job_id)
    assert (job["progress_done"], job["progress_fps"]) == (24, 15.5)


def test_a_job_that_ended_leaves_nothing_even_if_its_last_worker_died_before_cleaning(
    cinema: Cinema,
) -> None:
    job_id = cinema.cut()
    cinema.run_all(job_id)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workers.segments.finalize.clean_ended", lambda _: 0)
        assert cinema.finalize(job_id) is JobStatus.SUCCEEDED
    assert cinema.objects() != cinema.known_objects()
    assert clean_ended(cinema.services) == 8
    assert clean_ended(cinema.services) == 0
    assert cinema.settle(job_id)["charged"] == 32_000_000
    cinema.assert_nothing_is_left()


def _until(condition: Any, timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
