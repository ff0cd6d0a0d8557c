"""One writer, one fence: who lost the lease changes nothing any more."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from app.jobs.errors import StaleFenceError
from app.jobs.lifecycle import (
    MAX_ATTEMPTS,
    advance,
    clear_dispatched,
    expire_due,
    give_back,
    mark_dispatched,
    mark_settled,
    renew,
    rescue_expired_leases,
)
from app.jobs.record import Claimed, Progress, Rescued
from app.jobs.service import request_cancel
from app.jobs.states import JobStatus
from billing.settlement import settle
from tests.app.jobs.shop import Shop, usage_report

ALL = 100_000_000
PRICE = 300_000
ERROR = {"code": "engine_fault", "detail": "it broke", "retryable": True}


def _renew(shop: Shop, run: Claimed, **facts: Any) -> bool:
    with shop.sessions.begin() as session:
        return renew(session, job_id=run.job_id, attempt=run.attempt, lease_s=15, **facts)


def _rescue(shop: Shop) -> list[Rescued]:
    with shop.sessions.begin() as session:
        return rescue_expired_leases(session)


def _give_back(shop: Shop, run: Claimed) -> JobStatus:
    with shop.sessions.begin() as session:
        return give_back(session, job_id=run.job_id, attempt=run.attempt, error=ERROR)


def _cancel(shop: Shop, job_id: str) -> None:
    with shop.sessions.begin() as session:
        request_cancel(session, tenant_id=shop.tenant_id, job_id=job_id)


def _let_lease_run_out(shop: Shop, job_id: str) -> None:
    shop.do(
        "UPDATE job SET lease_expires_at = clock_timestamp() - interval '1 s' WHERE id = :id",
        id=job_id,
    )


def _attempts(shop: Shop) -> list[tuple[int, str | None]]:
    rows = shop.rows("SELECT number, outcome FROM attempt ORDER BY number")
    return [(row["number"], row["outcome"]) for row in rows]


def test_a_claim_takes_the_job_under_a_lease_and_opens_an_attempt(shop: Shop) -> None:
    job_id = shop.submit(params={"conf": 0.5})
    run = shop.claimed(job_id, lease_s=15)
    assert (run.attempt, run.engine, run.model) == (1, "detect", "builtin@1")
    assert run.params["conf"] == 0.5
    assert run.inputs == {"target": shop.picture, "source": []}
    assert 0 <= run.queue_ms < 60_000
    job = shop.job(job_id)
    assert (job["status"], job["lease_owner"], job["attempt"]) == ("starting", "worker-1", 1)
    lease = shop.rows(
        "SELECT lease_expires_at - clock_timestamp() BETWEEN interval '10 s' AND interval '15 s'"
        " AS fits FROM job"
    )
    assert lease == [{"fits": True}]
    assert _attempts(shop) == [(1, None)]


def test_a_job_is_claimed_once_however_often_its_message_comes(shop: Shop) -> None:
    job_id = shop.submit()
    barrier = threading.Barrier(8)

    def take() -> Claimed | None:
        barrier.wait()
        return shop.claim(job_id)

    with ThreadPoolExecutor(8) as pool:
        runs = [future.result() for future in [pool.submit(take) for _ in range(8)]]
    assert len([run for run in runs if run is not None]) == 1
    assert _attempts(shop) == [(1, None)]
    assert shop.claim("job_unknown") is None


def test_a_job_past_its_start_deadline_is_not_claimed(shop: Shop) -> None:
    job_id = shop.submit(start_deadline_s=10)
    shop.do("UPDATE job SET start_deadline_at = clock_timestamp() - interval '1 s'")
    assert shop.claim(job_id) is None
    with shop.sessions.begin() as session:
        assert expire_due(session) == [job_id]
        assert expire_due(session) == []
    job = shop.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("expired", "start_deadline_missed")
    settlement = shop.settle(job_id)
    assert settlement is not None
    assert (settlement.outcome, settlement.charged) == ("expired", 0)
    assert shop.tokens() == (ALL, 0)


def test_a_deadline_counts_until_the_first_start_only(shop: Shop) -> None:
    job_id = shop.submit(start_deadline_s=10)
    shop.claimed(job_id)
    shop.do("UPDATE job SET start_deadline_at = clock_timestamp() - interval '1 s'")
    _let_lease_run_out(shop, job_id)
    assert [rescued.status for rescued in _rescue(shop)] == ["queued"]
    with shop.sessions.begin() as session:
        assert expire_due(session) == []
    assert shop.claimed(job_id).attempt == 2


def test_a_renewal_extends_the_lease_tells_progress_and_hears_of_a_cancel(shop: Shop) -> None:
    job_id = shop.submit()
    run = shop.claimed(job_id, lease_s=1)
    assert _renew(shop, run, progress=Progress(30, 300, "frames", 12.5)) is False
    job = shop.job(job_id)
    assert (job["progress_done"], job["progress_total"], job["progress_unit"]) == (
        30,
        300,
        "frames",
    )
    assert job["progress_fps"] == 12.5
    _cancel(shop, job_id)
    assert _renew(shop, run) is True
    assert shop.job(job_id)["progress_done"] == 30


def test_a_run_goes_through_its_states_and_ends_with_one_usage_record(shop: Shop) -> None:
    job_id = shop.submit(user="u-1", project="alpha")
    run = shop.claimed(job_id)
    row = shop.succeed(run)
    assert row["status"] == "succeeded"
    assert row["lease_expires_at"] is None
    assert row["expires_at"] > row["finished_at"]
    assert row["output"]["data"] == {"predictions": []}
    record = shop.rows("SELECT * FROM billing.usage_record")[0]
    assert (record["job"], record["outcome"], record["model"]) == (job_id, "succeeded", "builtin@1")
    assert record["quantities"]["input_pixels"] == 409_600
    assert record["gpu_us"] == 10
    assert 0 < record["wall_us"] < 60_000_000
    assert (record["end_user"], record["project"]) == ("u-1", row["project_id"])
    attempt = shop.rows("SELECT * FROM attempt")[0]
    assert (attempt["outcome"], attempt["usage_report"]["device"]) == ("succeeded", "cpu:test")


def test_billing_is_told_when_a_job_ends(shop: Shop, database_url: str) -> None:
    run = shop.claimed(shop.submit())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("LISTEN pixelmeter_usage")
        shop.finish(run, JobStatus.FAILED, error=ERROR)
        assert len(list(connection.notifies(timeout=3, stop_after=1))) == 1


@pytest.mark.parametrize(
    "act",
    [
        _renew,
        lambda shop, run: shop.advance(run, JobStatus.PROCESSING),
        lambda shop, run: shop.finish(run, JobStatus.FAILED, error=ERROR),
        lambda shop, run: shop.finish(run, JobStatus.CANCELED, usage=usage_report()),
        _give_back,
    ],
)
def test_a_worker_that_lost_its_lease_writes_nothing(
    shop: Shop, act: Callable[[Shop, Claimed], object]
) -> None:
    job_id = shop.submit()
    zombie = shop.claimed(job_id)
    _let_lease_run_out(shop, job_id)
    _rescue(shop)
    for _ in range(2):  # once while the job waits, once while another attempt runs
        before = (shop.job(job_id), _attempts(shop), shop.count("billing.usage_record"))
        with pytest.raises(StaleFenceError):
            act(shop, zombie)
        assert (shop.job(job_id), _attempts(shop), shop.count("billing.usage_record")) == before
        shop.claim(job_id)


def test_a_lease_that_ran_out_but_was_not_rescued_still_counts(shop: Shop) -> None:
    job_id = shop.submit()
    run = shop.claimed(job_id)
    _let_lease_run_out(shop, job_id)
    assert _renew(shop, run) is False
    assert _rescue(shop) == []


def test_arrows_that_do_not_exist_are_refused(shop: Shop) -> None:
    run = shop.claimed(shop.submit())
    with pytest.raises(StaleFenceError):
        shop.advance(run, JobStatus.FINALIZING)
    with pytest.raises(StaleFenceError):
        shop.finish(run, JobStatus.SUCCEEDED, output={"files": [], "data": {}})
    with shop.sessions.begin() as session:
        for wrong in (JobStatus.QUEUED, JobStatus.SUCCEEDED, JobStatus.EXPIRED):
            with pytest.raises(ValueError, match="lease"):
                advance(session, job_id=run.job_id, attempt=1, to=wrong)
    for wrong in (JobStatus.EXPIRED, JobStatus.QUEUED, JobStatus.PROCESSING):
        with pytest.raises(ValueError, match="ends as"):
            shop.finish(run, wrong)


def test_nobody_moves_a_job_past_the_writer(shop: Shop) -> None:
    job_id = shop.submit()
    with pytest.raises(IntegrityError, match="cannot go from queued to succeeded"):
        shop.do("UPDATE job SET status = 'succeeded' WHERE id = :id", id=job_id)


def test_an_expired_lease_gives_the_job_back_to_the_queue(shop: Shop) -> None:
    job_id = shop.submit()
    with shop.sessions.begin() as session:
        mark_dispatched(session, job_ids=[job_id])
    shop.claimed(job_id)
    assert _rescue(shop) == []
    _let_lease_run_out(shop, job_id)
    assert _rescue(shop) == [Rescued(job_id=job_id, attempt=1, status="queued")]
    job = shop.job(job_id)
    assert (job["dispatched_at"], job["lease_owner"], job["attempt"]) == (None, None, 1)
    assert _attempts(shop) == [(1, "lost")]
    assert shop.claimed(job_id).attempt == 2
    assert shop.tokens() == (ALL - PRICE, PRICE)


def test_after_the_last_attempt_the_job_fails_and_costs_nothing(shop: Shop) -> None:
    job_id = shop.submit()
    for _ in range(MAX_ATTEMPTS):
        shop.claimed(job_id)
        _let_lease_run_out(shop, job_id)
        [rescued] = _rescue(shop)
    assert rescued == Rescued(job_id=job_id, attempt=3, status="failed")
    job = shop.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "attempts_exhausted")
    assert job["finished_at"] is not None
    assert _attempts(shop) == [(1, "lost"), (2, "lost"), (3, "lost")]
    settlement = shop.settle(job_id)
    assert settlement is not None
    assert settlement.charged == 0
    assert shop.tokens() == (ALL, 0)


def test_a_lost_job_that_should_stop_is_not_started_again(shop: Shop) -> None:
    job_id = shop.submit()
    shop.claimed(job_id)
    _cancel(shop, job_id)
    _let_lease_run_out(shop, job_id)
    assert [rescued.status for rescued in _rescue(shop)] == ["canceled"]
    assert shop.job(job_id)["error"] is None
    settlement = shop.settle(job_id)
    assert settlement is not None
    assert settlement.charged == 0


def test_two_sweepers_at_once_rescue_each_job_once(shop: Shop) -> None:
    for _ in range(10):
        shop.claimed(shop.submit())
    shop.do("UPDATE job SET lease_expires_at = clock_timestamp() - interval '1 s'")
    with ThreadPoolExecutor(2) as pool:
        found = [future.result() for future in [pool.submit(_rescue, shop) for _ in range(2)]]
    assert len(found[0]) + len(found[1]) == 10
    assert _rescue(shop) == []


def test_giving_back_queues_the_job_until_its_attempts_are_used_up(shop: Shop) -> None:
    job_id = shop.submit()
    outcomes = [_give_back(shop, shop.claimed(job_id)) for _ in range(MAX_ATTEMPTS)]
    assert outcomes == [JobStatus.QUEUED, JobStatus.QUEUED, JobStatus.FAILED]
    job = shop.job(job_id)
    assert (job["status"], job["error"]["code"]) == ("failed", "engine_fault")
    assert _attempts(shop) == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert shop.count("billing.usage_record") == 1


def test_giving_back_a_job_that_should_stop_cancels_it(shop: Shop) -> None:
    run = shop.claimed(shop.submit())
    _cancel(shop, run.job_id)
    assert _give_back(shop, run) is JobStatus.CANCELED
    assert shop.job(run.job_id)["error"] is None


def test_dispatching_marks_only_what_still_waits(shop: Shop) -> None:
    waiting, running = shop.submit(), shop.submit()
    shop.claimed(running)
    with shop.sessions.begin() as session:
        assert mark_dispatched(session, job_ids=[waiting, running, "job_unknown"]) == [waiting]
    assert shop.job(waiting)["dispatched_at"] is not None
    with shop.sessions.begin() as session:
        clear_dispatched(session, job_ids=[waiting])
    assert shop.job(waiting)["dispatched_at"] is None


def _settle_and_mark(shop: Shop, job_id: str) -> Any:
    with shop.sessions.begin() as session:
        settlement = settle(session, job=job_id)
        return None if settlement is None else mark_settled(session, settlement=settlement)


def test_a_settled_job_shows_what_it_cost_and_what_it_took(shop: Shop, database_url: str) -> None:
    job_id = shop.submit()
    shop.succeed(shop.claimed(job_id))
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("LISTEN pixelmeter_settled")
        row = _settle_and_mark(shop, job_id)
        notices = list(connection.notifies(timeout=3, stop_after=1))
    assert [notice.payload for notice in notices] == [job_id]
    usage = row["usage"]
    assert usage["tokens"] == 0.3
    assert usage["remaining_tokens"] == 99.7
    assert (usage["device"], usage["runner"], usage["model"]) == ("cpu:test", "opencv", "builtin@1")
    assert (usage["gpu_ms"], usage["run_ms"], usage["cold_start_ms"]) == (0.01, 1.5, 0.25)
    assert usage["stages"] == {"detect": 0.01}
    assert usage["cached"] is False
    assert sum(line["tokens"] for line in usage["breakdown"]) == 0.3
    assert row["settled_at"] is not None
    assert dict(row) == shop.job(job_id)
    assert shop.tokens() == (ALL - PRICE, 0)


def test_settling_twice_changes_nothing(shop: Shop) -> None:
    job_id = shop.submit()
    shop.succeed(shop.claimed(job_id))
    first = _settle_and_mark(shop, job_id)
    assert _settle_and_mark(shop, job_id) is None
    assert shop.job(job_id) == dict(first)


def test_work_done_before_a_cancel_is_charged_and_a_failure_is_not(shop: Shop) -> None:
    canceled, failed = shop.claimed(shop.submit()), shop.claimed(shop.submit())
    half = usage_report(pixels=640 * 320)
    shop.finish(canceled, JobStatus.CANCELED, usage=half)
    shop.finish(failed, JobStatus.FAILED, error=ERROR, usage=half)
    assert _settle_and_mark(shop, canceled.job_id)["usage"]["tokens"] == 0.15
    row = _settle_and_mark(shop, failed.job_id)
    assert row["usage"]["tokens"] == 0
    assert row["usage"]["gpu_ms"] == 0.01
    assert shop.tokens() == (ALL - 150_000, 0)


def test_a_job_that_never_ran_has_a_usage_of_zeros(shop: Shop) -> None:
    job_id = shop.submit()
    _cancel(shop, job_id)
    usage = _settle_and_mark(shop, job_id)["usage"]
    assert (usage["tokens"], usage["gpu_ms"], usage["device"]) == (0, 0, None)
    assert usage["model"] == "builtin@1"
    assert usage["queue_ms"] >= 0


def test_an_impossible_measurement_cannot_end_a_job(shop: Shop) -> None:
    run = shop.claimed(shop.submit())
    broken = replace(usage_report(), work=replace(usage_report().work, quantities={"images": -1}))
    with pytest.raises(Exception, match="images"):
        shop.finish(run, JobStatus.CANCELED, usage=broken)
    assert shop.job(run.job_id)["status"] == "starting"
