"""One attempt of one job, with a fake engine on a real database."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy.exc import OperationalError

from app.jobs.lifecycle import claim
from app.jobs.states import JobStatus
from engines.errors import EngineFaultError, ExhaustedError, InvalidInputError
from engines.media.provenance import read_origin
from engines.spec import CanceledRunError, OutputFile, RunContext
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform, measured
from workers import run_job
from workers.attempt_lease import AttemptLease, Renewer
from workers.persistence import persist
from workers.run_job import execute
from workers.settle import drain
from workers.work_folders import clean_work, work_root


@pytest.fixture
def fake(platform: Platform) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    return registry.fake


def run(platform: Platform, job_id: str) -> JobStatus | None:
    return execute(platform.services, job_id=job_id, worker="gpu1@test")


def charges(platform: Platform) -> int:
    return int(platform.scalar("SELECT count(*) FROM billing.usage_record"))


def test_a_job_runs_and_leaves_one_usage_record(platform: Platform, fake: FakeEngine) -> None:
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.SUCCEEDED
    job = platform.job(job_id)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert job["output"] == {"files": [], "data": {"predictions": []}}
    assert job["lease_owner"] is None
    assert charges(platform) == 1
    assert list(work_root(platform.services).iterdir()) == []


def test_a_duplicate_message_changes_nothing(platform: Platform, fake: FakeEngine) -> None:
    job_id = platform.submit()
    run(platform, job_id)
    before = platform.job(job_id)
    assert run(platform, job_id) is None
    assert platform.job(job_id) == before
    assert (fake.runs, charges(platform)) == (1, 1)


@pytest.mark.parametrize("job_id", ["job_unknown", "", "' OR 1=1 --", "\u20ac" * 1000])
def test_an_invented_message_is_dropped(platform: Platform, fake: FakeEngine, job_id: str) -> None:
    assert run(platform, job_id) is None
    assert fake.runs == 0


def test_outputs_are_stored_with_their_facts(
    platform: Platform, fake: FakeEngine, photo: Path
) -> None:
    fake.outputs = (
        OutputFile(photo, "image/png", "result.png"),
        OutputFile(_json(photo.parent), "application/json", "result.json"),
    )
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.SUCCEEDED
    picture, data = platform.job(job_id)["output"]["files"]
    row = platform.row("SELECT * FROM file WHERE id = :id", id=picture["id"])
    assert (row["width"], row["height"], row["kind"]) == (256, 256, "image")
    assert (row["job_id"], row["purpose"]) == (job_id, "output")
    stored = platform.services.storage.path(row["storage_key"])
    assert (samples(stored) == samples(photo)).all()
    origin = read_origin(stored)
    assert origin.digital_source_type is not None
    assert origin.digital_source_type.endswith("/algorithmicallyEnhanced")  # as detect declares
    assert origin.aigc is not None
    assert (origin.aigc["ContentProducer"], origin.aigc["ProduceID"]) == ("Pixelmeter", job_id)
    assert data["media_type"] == "application/json"


def samples(path: Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_picture_that_cannot_be_marked_is_no_result(
    platform: Platform, fake: FakeEngine, tmp_path: Path
) -> None:
    path = tmp_path / "result.bmp"
    Image.new("RGB", (8, 8)).save(path)
    fake.outputs = (OutputFile(path, "image/bmp", "result.bmp"),)
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.FAILED
    assert platform.job(job_id)["error"]["code"] == "output_unmarkable"
    assert platform.scalar("SELECT count(*) FROM file WHERE purpose = 'output'") == 0


def _json(folder: Path) -> Path:
    path = folder / "result.json"
    path.write_text("{}")
    return path


def test_bad_input_ends_the_job_at_once(platform: Platform, fake: FakeEngine) -> None:
    fake.behave = _raising(InvalidInputError("no face in the picture", code="no_face"))
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.FAILED
    assert platform.job(job_id)["error"] == {
        "code": "no_face",
        "detail": "no face in the picture",
        "retryable": False,
    }
    assert charges(platform) == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ExhaustedError("no memory"), "resources_exhausted"),
        (EngineFaultError("broken", code="weights_corrupt"), "weights_corrupt"),
        (MemoryError(), "resources_exhausted"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk_full"),
        (ZeroDivisionError("a bug, with /a/path in it"), "engine_fault"),
    ],
)
def test_what_another_attempt_may_repair_is_tried_three_times(
    platform: Platform, fake: FakeEngine, error: Exception, code: str
) -> None:
    fake.behave = _raising(error)
    job_id = platform.submit()
    outcomes = [run(platform, job_id) for _ in range(3)]
    assert outcomes == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FAILED]
    job = platform.job(job_id)
    assert job["error"]["code"] == code
    assert "/a/path" not in job["error"]["detail"]
    assert run(platform, job_id) is None
    assert (fake.runs, charges(platform)) == (3, 1)


def _raising(error: BaseException) -> Callable[[RunContext], None]:
    def behave(_: RunContext) -> None:
        raise error

    return behave


def _until_stopped(started: threading.Event) -> Callable[[RunContext], None]:
    def behave(context: RunContext) -> None:
        context.progress(3, 10, "frames")
        started.set()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            context.checkpoint()
            time.sleep(0.02)

    return behave


def _in_background(platform: Platform, job_id: str) -> tuple[threading.Thread, list[Any]]:
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(run(platform, job_id)))
    thread.start()
    return thread, result


def test_a_running_job_is_canceled_within_two_seconds_and_shows_its_progress(
    platform: Platform, fake: FakeEngine
) -> None:
    started = threading.Event()
    fake.behave = _until_stopped(started)
    job_id = platform.submit()
    thread, result = _in_background(platform, job_id)
    started.wait(10)
    asked = time.monotonic()
    platform.cancel(job_id)
    thread.join(10)
    assert result == [JobStatus.CANCELED]
    assert time.monotonic() - asked < 3
    job = platform.job(job_id)
    assert (job["status"], job["progress_done"], job["progress_total"]) == ("canceled", 3, 10)


def test_the_last_progress_of_a_run_stays_with_the_job(
    platform: Platform, fake: FakeEngine
) -> None:
    fake.behave = lambda context: context.progress(60, 60, "frames")
    job_id = platform.submit()
    run(platform, job_id)
    job = platform.job(job_id)
    assert (job["progress_done"], job["progress_total"]) == (60, 60)
    assert job["progress_unit"] == "frames"


def test_a_job_canceled_on_the_way_is_charged_the_work_measured_until_then(
    platform: Platform, fake: FakeEngine
) -> None:
    usage = measured({"frames": 4.0, "input_pixels": 640.0 * 640}, media="video")

    def behave(context: RunContext) -> None:
        raise CanceledRunError("asked to stop", usage=usage)

    fake.behave = behave
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.CANCELED
    record = platform.row("SELECT * FROM billing.usage_record WHERE job = :id", id=job_id)
    assert (record["outcome"], record["quantities"]["frames"]) == ("canceled", 4)
    drain(platform.services)
    charge = platform.row("SELECT * FROM billing.charge WHERE job = :id", id=job_id)
    # Four frames are dearer than the one picture that was quoted: the hold is the ceiling.
    assert 0 < charge["charged"] == charge["held"]
    platform.reconcile()


def test_a_run_over_its_limit_fails_for_good(platform: Platform, fake: FakeEngine) -> None:
    fake.behave = _until_stopped(threading.Event())
    job_id = platform.submit(max_runtime_s=1)
    assert run(platform, job_id) is JobStatus.FAILED
    assert platform.job(job_id)["error"]["code"] == "max_runtime_exceeded"


def test_a_worker_whose_lease_was_given_away_stops_and_writes_nothing(
    platform: Platform, fake: FakeEngine
) -> None:
    """What a stopped process finds when it goes on: its lease ran out, another attempt runs."""
    started = threading.Event()
    fake.behave = _until_stopped(started)
    job_id = platform.submit()
    thread, result = _in_background(platform, job_id)
    started.wait(10)
    platform.change(
        "UPDATE job SET status = 'queued', lease_expires_at = NULL, lease_owner = NULL"
        " WHERE id = :id",
        id=job_id,
    )
    thread.join(10)
    assert result == [None]
    assert platform.job(job_id)["status"] == "queued"
    assert charges(platform) == 0


def test_a_result_with_a_stale_fence_is_refused_and_its_files_go(
    platform: Platform, fake: FakeEngine, photo: Path
) -> None:
    def lose_the_lease(_: RunContext) -> None:
        platform.change(
            "UPDATE job SET status = 'queued', lease_expires_at = NULL WHERE id = :id", id=job_id
        )
        second = platform.scalar(
            "UPDATE job SET status = 'starting', attempt = attempt + 1,"
            " lease_expires_at = clock_timestamp() + interval '1 minute'"
            " WHERE id = :id RETURNING attempt",
            id=job_id,
        )
        assert second is not None

    fake.behave = lose_the_lease
    fake.outputs = (OutputFile(photo, "image/png", "result.png"),)
    job_id = platform.submit()
    objects = set(platform.services.storage.keys(older_than_s=-1))
    assert run(platform, job_id) is None
    assert set(platform.services.storage.keys(older_than_s=-1)) == objects
    assert charges(platform) == 0


def test_inputs_are_found_past_their_expiry_and_missed_when_gone(
    platform: Platform, fake: FakeEngine
) -> None:
    late, gone = platform.submit(), platform.submit()
    platform.change("UPDATE file SET expires_at = now() - interval '1 hour'")
    assert run(platform, late) is JobStatus.SUCCEEDED
    platform.services.storage.delete(platform.scalar("SELECT storage_key FROM file"))
    assert run(platform, gone) is JobStatus.FAILED
    assert platform.job(gone)["error"]["code"] == "input_gone"


def test_a_result_waits_for_a_database_that_restarts() -> None:
    outcomes = iter([OperationalError("", {}, Exception("away")), "written"])

    def write() -> str:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert persist(write, for_s=5) == "written"


def test_a_database_that_stays_away_is_given_up_on() -> None:
    with pytest.raises(OperationalError):
        persist(_failing, for_s=0.2)


def _failing() -> None:
    raise OperationalError("", {}, Exception("away"))


def test_the_lease_is_extended_while_the_engine_works(platform: Platform, fake: FakeEngine) -> None:
    def watch(context: RunContext) -> None:
        first = platform.job(job_id)["lease_expires_at"]
        deadline = time.monotonic() + 5
        while platform.job(job_id)["lease_expires_at"] == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    fake.behave = watch
    job_id = platform.submit()
    assert run(platform, job_id) is JobStatus.SUCCEEDED


def test_a_lease_that_cannot_be_renewed_for_a_while_is_no_reason_to_stop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away() -> Any:
        raise OperationalError("", {}, Exception("away"))

    class Away:
        begin = staticmethod(away)

    sessions: Any = Away()
    renewer = Renewer(every_s=0.02)
    renewer.start()
    with AttemptLease(sessions, renewer, job_id="job_1", attempt=1, runtime_s=60) as lease:
        time.sleep(0.1)
        assert lease.stop_reason is None
    renewer.end()
    renewer.join(5)
    assert "lease not renewed" in caplog.text


def test_a_run_extends_the_hold_of_its_job(platform: Platform) -> None:
    job_id = platform.submit()
    platform.change("UPDATE billing.hold SET expires_at = now()")
    sessions = platform.services.sessions
    with sessions.begin() as session:
        assert claim(session, job_id=job_id, worker="gpu1@test", lease_s=15) is not None
    with AttemptLease(sessions, Renewer(), job_id=job_id, attempt=1, runtime_s=60) as lease:
        lease.renew_now()
    assert platform.scalar("SELECT expires_at > now() + interval '23 hours' FROM billing.hold")


def test_folders_of_dead_attempts_are_removed(platform: Platform) -> None:
    root = work_root(platform.services)
    (root / "job_dead-1").mkdir()
    assert clean_work(root, older_than_s=3600) == 0
    assert clean_work(root, older_than_s=-1) == 1
    assert list(root.iterdir()) == []


def test_a_message_whose_argument_is_no_text_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    run_job._task(None, {"job": 1})
    assert "message dropped" in caplog.text
