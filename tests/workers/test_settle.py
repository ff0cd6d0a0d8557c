"""Settlement, its webhooks and their delivery, on a real database with a fake engine."""

import json
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.jobs.states import JobStatus
from billing.audit import verify
from engines.errors import InvalidInputError
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform
from workers import settle
from workers.run_job import execute
from workers.settle import drain
from workers.sweep import sweep_files, sweep_promises

HOOK = {"url": "https://hooks.example.com/a"}


@pytest.fixture(autouse=True)
def fake(platform: Platform) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    return registry.fake


def finished(platform: Platform, **fields: Any) -> str:
    job_id = platform.submit(**fields)
    execute(platform.services, job_id=job_id, worker="gpu1@test")
    return job_id


def events(platform: Platform) -> list[dict[str, Any]]:
    with platform.sessions() as session:
        bodies = session.connection().exec_driver_sql("SELECT body FROM webhook_event ORDER BY id")
        return [json.loads(row.body) for row in bodies]


def held(platform: Platform) -> int:
    return int(platform.scalar("SELECT sum(held) FROM billing.wallet"))


def test_a_succeeded_job_is_charged_and_told_with_its_usage(platform: Platform) -> None:
    job_id = finished(platform, webhook=HOOK, metadata={"order": "7"})
    assert drain(platform.services) == 1
    job = platform.job(job_id)
    assert job["settled_at"] is not None
    assert job["usage"]["tokens"] > 0
    assert held(platform) == 0
    (event,) = events(platform)
    assert (event["type"], event["sequence"]) == ("job.succeeded", 1)
    assert event["data"]["id"] == job_id
    assert event["data"]["usage"]["tokens"] == job["usage"]["tokens"]
    assert event["data"]["metadata"] == {"order": "7"}
    platform.reconcile()


def test_settling_twice_changes_nothing(platform: Platform) -> None:
    job_id = finished(platform, webhook=HOOK)
    drain(platform.services)
    before = platform.job(job_id)
    assert drain(platform.services) == 0
    with platform.sessions.begin() as session:
        assert settle.settle_jobs(session, platform.services, [job_id]) == 0
    assert platform.job(job_id) == before
    assert len(events(platform)) == 1


def test_a_failed_job_costs_nothing_and_frees_its_hold(
    platform: Platform, fake: FakeEngine
) -> None:
    def refuse(_: object) -> None:
        raise InvalidInputError("no")

    fake.behave = refuse
    job_id = finished(platform, webhook=HOOK)
    drain(platform.services)
    assert platform.job(job_id)["usage"]["tokens"] == 0
    assert held(platform) == 0
    assert [event["type"] for event in events(platform)] == ["job.failed"]
    platform.reconcile()


def test_a_job_canceled_in_the_queue_is_settled_too(platform: Platform) -> None:
    job_id = platform.submit(webhook=HOOK)
    platform.cancel(job_id)
    drain(platform.services)
    assert platform.job(job_id)["usage"]["tokens"] == 0
    assert held(platform) == 0
    assert [event["type"] for event in events(platform)] == ["job.canceled"]


def test_the_start_is_told_once_to_those_who_ask(platform: Platform) -> None:
    job_id = finished(platform, webhook={**HOOK, "events": ["job.started", "job.succeeded"]})
    drain(platform.services)
    told = events(platform)
    assert [(event["type"], event["sequence"]) for event in told] == [
        ("job.started", 1),
        ("job.succeeded", 2),
    ]
    assert told[0]["data"]["status"] == "processing"
    assert told[0]["data"]["id"] == job_id


def test_one_job_that_cannot_be_settled_holds_up_no_other(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [finished(platform) for _ in range(4)]
    real = settle.mark_all_settled

    def mark(session: Session, *, settlements: Any) -> Any:
        if jobs[1] in {settlement.job for settlement in settlements}:
            raise KeyError("a bug")
        return real(session, settlements=settlements)

    monkeypatch.setattr(settle, "mark_all_settled", mark)
    assert drain(platform.services) == 3
    assert [platform.job(job)["settled_at"] is None for job in jobs] == [False, True, False, False]
    monkeypatch.undo()
    assert drain(platform.services) == 1
    platform.reconcile()


def test_the_sweep_finds_what_was_forgotten(platform: Platform) -> None:
    lost, late, forgotten = (
        platform.submit(),
        platform.submit(start_deadline_s=1),
        finished(platform),
    )
    platform.change(
        "UPDATE job SET status = 'starting', attempt = 1, lease_owner = 'dead',"
        " lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id",
        id=lost,
    )
    platform.change("UPDATE job SET start_deadline_at = clock_timestamp() WHERE id = :id", id=late)
    sweep_promises(platform.services)
    assert platform.job(lost)["status"] == "queued"
    assert platform.job(late)["status"] == "expired"
    assert platform.job(forgotten)["settled_at"] is not None
    assert platform.job(late)["settled_at"] is not None
    sweep_promises(platform.services)


def test_a_job_whose_worker_dies_three_times_is_parked_and_free(platform: Platform) -> None:
    job_id = platform.submit(webhook=HOOK)
    for attempt in (1, 2, 3):
        platform.change(
            "UPDATE job SET status = 'starting', attempt = :attempt, lease_owner = 'dead',"
            " lease_expires_at = clock_timestamp() - interval '1 second' WHERE id = :id",
            id=job_id,
            attempt=attempt,
        )
        sweep_promises(platform.services)
    job = platform.job(job_id)
    assert (job["status"], job["error"]["code"]) == (JobStatus.FAILED, "attempts_exhausted")
    assert job["usage"]["tokens"] == 0
    assert held(platform) == 0
    assert [event["type"] for event in events(platform)] == ["job.failed"]
    platform.reconcile()


def test_the_sweep_takes_every_journal_into_the_audit_chain(platform: Platform) -> None:
    finished(platform)
    sweep_promises(platform.services)
    with platform.sessions() as session:
        found = verify(session)
    journals = platform.scalar("SELECT count(*) FROM billing.journal")
    assert (found.breaks, found.waiting, found.rows) == ((), 0, journals)


def test_the_sweep_gives_back_the_hold_of_a_vanished_job_and_no_other(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    waiting, vanished = platform.submit(), platform.submit()
    long_ago = "UPDATE billing.hold SET expires_at = now() - interval '40 days'"
    platform.change(long_ago)
    platform.change("DELETE FROM job WHERE id = :id", id=vanished)
    sweep_promises(platform.services)
    states = {
        job: platform.scalar("SELECT state FROM billing.hold WHERE job = :job", job=job)
        for job in (waiting, vanished)
    }
    assert states == {waiting: "open", vanished: "expired"}
    assert f"{vanished}: its hold outlived it" in caplog.text
    sweep_promises(platform.services)
    platform.reconcile()


def test_files_whose_time_is_over_are_collected(platform: Platform) -> None:
    platform.change("UPDATE file SET expires_at = now() - interval '1 day'")
    assert sweep_files(platform.services) == 1
    assert list(platform.services.storage.keys(older_than_s=-1)) == []
    assert sweep_files(platform.services) == 0
