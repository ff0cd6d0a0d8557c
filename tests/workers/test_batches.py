"""The end of batches: once each, whoever is killed and however many settle at once."""

import json
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text

from app.batches import queries
from app.files.garbage import collect_garbage
from tests.workers.miniature import FakeEngine, FakeRegistry, Platform, environment_of
from workers.batches import end_batches, tend
from workers.run_job import execute
from workers.settle import drain

HOOK = {"url": "https://hooks.example.com/batch", "events": []}

# A billing worker without a broker: it settles and ends until it is killed or has nothing left.
# Small folds make many moments between two commits.
BILLING = """
import time
from workers import settle
from workers.batches import end_batches
from workers.services import process_services

settle.BATCH = 3
services = process_services.get()
services.sessions().close()
print("ready", flush=True)
until = time.monotonic() + 10
while time.monotonic() < until:
    settle.drain(services)
    end_batches(services)
"""


@pytest.fixture(autouse=True)
def fake(platform: Platform) -> FakeEngine:
    registry: Any = FakeRegistry(platform.registry)
    platform.services.registry = registry
    return registry.fake


def run_all(platform: Platform, batch_id: str) -> None:
    with platform.sessions() as session:
        jobs = list(
            session.scalars(text("SELECT id FROM job WHERE batch_id = :b"), {"b": batch_id})
        )
    for job_id in jobs:
        execute(platform.services, job_id=job_id, worker="gpu1@test")


def events(platform: Platform) -> list[dict[str, Any]]:
    with platform.sessions() as session:
        bodies = session.scalars(text("SELECT body FROM webhook_event ORDER BY id"))
        return [json.loads(body) for body in bodies]


def test_a_batch_ends_when_its_last_job_is_settled(platform: Platform) -> None:
    batch_id = platform.submit_batch(3, webhook=HOOK)
    assert end_batches(platform.services) == 0
    run_all(platform, batch_id)
    assert end_batches(platform.services) == 0
    drain(platform.services)
    assert end_batches(platform.services) == 1
    assert end_batches(platform.services) == 0
    (event,) = events(platform)
    assert (event["type"], event["data"]["counts"]["succeeded"]) == ("batch.completed", 3)
    platform.reconcile()


def test_jobs_that_a_crash_left_unmade_are_made_and_ended(platform: Platform) -> None:
    batch_id = platform.submit_batch(5, make=False, webhook=HOOK)
    assert platform.scalar("SELECT count(*) FROM job") == 0
    tend(platform.services)
    tend(platform.services)
    assert platform.scalar("SELECT count(*) FROM billing.hold") == 5
    run_all(platform, batch_id)
    drain(platform.services)
    tend(platform.services)
    (event,) = events(platform)
    assert event["data"]["counts"]["succeeded"] == 5
    platform.reconcile()


def test_what_a_crash_left_of_canceling_is_canceled_and_ended(platform: Platform) -> None:
    batch_id = platform.submit_batch(4, webhook=HOOK)
    platform.change(
        "UPDATE batch SET cancel_requested_at = now() WHERE id = :id", id=batch_id
    )  # the request that canceled died here
    tend(platform.services)
    drain(platform.services)
    tend(platform.services)
    (event,) = events(platform)
    assert (event["data"]["status"], event["data"]["counts"]["canceled"]) == ("canceled", 4)
    platform.reconcile()


def test_one_batch_that_cannot_be_ended_holds_up_no_other(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = platform.submit_batch(1), platform.submit_batch(1)
    for batch_id in (stuck, other):
        run_all(platform, batch_id)
    drain(platform.services)
    with monkeypatch.context() as broken:
        real = queries.stream_items

        def stream(session: Any, *, batch_id: str) -> Any:
            if batch_id == stuck:
                raise OSError("no space left on device")
            return real(session, batch_id=batch_id)

        broken.setattr("app.batches.completion.stream_items", stream)
        assert end_batches(platform.services) == 1
    assert end_batches(platform.services) == 1


def test_killed_billing_workers_end_each_batch_once(platform: Platform) -> None:
    batches = [platform.submit_batch(12, webhook=HOOK) for _ in range(4)]
    for batch_id in batches:
        run_all(platform, batch_id)
    chance = random.Random(7)
    for _ in range(3):
        workers = [start(platform) for _ in range(2)]
        time.sleep(chance.uniform(0, 0.06))
        for worker in workers:
            worker.kill()
            worker.communicate()
    drain(platform.services)
    end_batches(platform.services)
    told = events(platform)
    assert sorted(event["data"]["id"] for event in told) == sorted(batches)
    assert all(event["data"]["counts"]["succeeded"] == 12 for event in told)
    assert platform.scalar("SELECT count(*) FROM billing.charge") == 48
    assert platform.scalar("SELECT count(*) FROM file WHERE name LIKE 'batch_%'") == 8
    now = datetime.now(UTC)
    collect_garbage(platform.sessions, platform.services.storage, now=now, orphan_age_s=-60)
    objects = len(list(platform.services.storage.keys(older_than_s=-60)))
    assert objects == platform.scalar("SELECT count(*) FROM file")
    platform.reconcile()


def start(platform: Platform) -> "subprocess.Popen[str]":
    worker = subprocess.Popen(
        [sys.executable, "-c", BILLING],
        env={"PATH": "/usr/bin:/bin", **environment_of(platform.settings)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker
