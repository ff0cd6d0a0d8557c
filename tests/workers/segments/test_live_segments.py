"""Long videos on two real workers that are killed: finished each time, charged once, nothing left.

`make kills` does 20 random moments with the leases as they are; here a few, whose leases end early.
``PIXELMETER_KILLS`` and ``PIXELMETER_SEED`` say how many and which.
"""

import os
import random
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.db import open_engine, session_factory
from tests.conftest import _with_database
from tests.workers.miniature import Platform, environment_of
from tests.workers.processes import BILLING, Processes, wait_until
from tests.workers.redis_server import RedisServer
from tests.workers.segments.cinema import ENGINES, Cinema, settings_with_digest

KILLS = int(os.environ.get("PIXELMETER_KILLS", "0"))
MOMENTS = KILLS or 3
SEED = int(os.environ.get("PIXELMETER_SEED") or random.SystemRandom().randrange(10**6))
WORKERS = ("gpu1", "gpu2")
FRAME_MS = 60.0  # half a second per segment, as much again to read it


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="pmr-"))
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cinema(
    postgres_url: str,
    template_database: str,
    redis_server: RedisServer,
    clip: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cinema]:
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    url = _with_database(postgres_url, name)
    home, engine = tmp_path_factory.mktemp("cinema") / "home", open_engine(url)
    settings = settings_with_digest(home, url, redis_server.url)
    platform = Platform(settings, session_factory(engine))
    yield Cinema(platform, clip)
    platform.services.close()
    engine.dispose()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def processes(cinema: Cinema, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environment = environment_of(cinema.platform.settings) | {"PIXELMETER_ENGINES": str(ENGINES)}
    processes = Processes(tmp_path_factory.mktemp("logs"), environment)
    for name in WORKERS:
        start_worker(processes, name)
    processes.celery("billing", *BILLING)
    processes.start("dispatcher", "workers.dispatcher")
    try:
        for name in (*WORKERS, "billing"):
            processes.wait_for(name, "ready.", timeout_s=90)
        heartbeats = "SELECT count(*) FROM worker_heartbeat WHERE disk_bytes > 0"
        wait_until(lambda: cinema.platform.scalar(heartbeats) == 2, what="heartbeats", timeout_s=60)
        yield processes
    finally:
        processes.stop_all()


def start_worker(processes: Processes, name: str) -> None:
    processes.celery(name, "worker", "-Q", "engine.digest,finalize", "-n", f"{name}@node")


@pytest.fixture(scope="module")
def whole(cinema: Cinema, processes: Processes) -> bytes:
    """The result of one run."""
    job_id = cinema.submit(segments=1)
    assert cinema.platform.wait_settled(job_id, timeout_s=60)["segments"] is None
    return cinema.output(job_id)


def test_eight_segments_on_two_workers_give_what_one_run_gives(
    cinema: Cinema, processes: Processes, whole: bytes
) -> None:
    job_id = cinema.submit(params={"frame_ms": FRAME_MS})
    job = cinema.platform.wait_settled(job_id, timeout_s=60)
    assert (job["status"], job["segments"], job["segments_done"]) == ("succeeded", 8, 8)
    assert cinema.output(job_id) == whole
    workers = "SELECT count(DISTINCT worker) FROM segment_attempt WHERE job_id = :id"
    assert cinema.platform.scalar(workers, id=job_id) == 2
    assert job["usage"]["tokens"] == 32


def test_workers_killed_at_random_moments_cost_time_and_nothing_else(
    cinema: Cinema, processes: Processes, whole: bytes
) -> None:
    print(f"seed {SEED}: PIXELMETER_SEED={SEED} repeats these moments")
    dice = random.Random(SEED)
    undisturbed_s = how_long(cinema)
    for number in range(MOMENTS):
        moment_s, victim = dice.uniform(0, undisturbed_s), dice.choice(WORKERS)
        job_id = cinema.submit(params={"frame_ms": FRAME_MS})
        time.sleep(moment_s)
        before = cinema.job(job_id)
        kill_and_restart(cinema, processes, victim)
        job = cinema.platform.wait_settled(job_id, timeout_s=120)
        told = f"moment {number}: {moment_s:.2f} s, {victim}, {before['status']}"
        told += f" {before['segments_done']}/{before['segments']}"
        print(f"{told}: {repeated(cinema, job_id)} repeated")
        check_end(cinema, job, whole, told)
    cinema.assert_nothing_is_left(swept=True)


def check_end(cinema: Cinema, job: dict[str, Any], whole: bytes, told: str) -> None:
    assert job["status"] == "succeeded", (told, job["error"])
    assert cinema.output(job["id"]) == whole, told
    assert repeated(cinema, job["id"]) <= 1, told
    counts = "SELECT count(*) FROM billing.charge WHERE job = :id"
    assert cinema.platform.scalar(counts, id=job["id"]) == 1, told
    assert job["usage"]["tokens"] == 32, told


def repeated(cinema: Cinema, job_id: str) -> int:
    """Segments that were begun again, or taken from storage."""
    return len(cinema.outcomes(job_id)) - 8


def how_long(cinema: Cinema) -> float:
    began = time.monotonic()
    cinema.platform.wait_settled(cinema.submit(params={"frame_ms": FRAME_MS}), timeout_s=60)
    return time.monotonic() - began


def kill_and_restart(cinema: Cinema, processes: Processes, name: str) -> None:
    processes.kill(name)
    processes._running[name].wait(10)
    if not KILLS:
        end_leases(cinema, name)
    start_worker(processes, name)


def end_leases(cinema: Cinema, name: str) -> None:
    """What happens by itself 15 s after a worker was killed."""
    for table, running in (
        ("segment", "status = 'running'"),
        ("job", "lease_expires_at IS NOT NULL"),
    ):
        cinema.platform.change(
            f"UPDATE {table} SET lease_expires_at = clock_timestamp() WHERE lease_owner = :worker"
            f" AND {running}",
            worker=f"{name}@node",
        )


def test_a_finalizer_killed_midway_is_followed_by_another(
    cinema: Cinema, processes: Processes, whole: bytes
) -> None:
    job_id = cinema.submit(params={"frame_ms": 150.0})
    cinema.platform.wait(job_id, "finalizing", timeout_s=90)
    victim = cinema.job(job_id)["lease_owner"].partition("@")[0]
    kill_and_restart(cinema, processes, victim)
    job = cinema.platform.wait_settled(job_id, timeout_s=90)
    check_end(cinema, job, whole, "killed while finalizing")
    outcomes = "SELECT string_agg(outcome, ',' ORDER BY number) FROM attempt WHERE job_id = :id"
    assert cinema.platform.scalar(outcomes, id=job_id) == "split,lost,succeeded"


def test_a_cancel_midway_stops_both_workers_within_two_seconds(
    cinema: Cinema, processes: Processes
) -> None:
    job_id = cinema.submit(params={"frame_ms": 200.0})
    wait_until(
        lambda: cinema.job(job_id)["segments_done"] >= 1,
        what="a segment that is done",
        timeout_s=60,
    )
    cinema.platform.cancel(job_id)
    job = cinema.platform.wait_settled(job_id, timeout_s=30)
    assert job["status"] == "canceled"
    took_s = (job["finished_at"] - job["cancel_requested_at"]).total_seconds()
    assert took_s < 2
    frames = cinema.usage_record(job_id)["quantities"]["frames"]
    assert 8 <= frames < 64
    assert job["usage"]["tokens"] == frames / 2


def test_nothing_is_left_of_all_of_it_and_the_ledger_reconciles(
    cinema: Cinema, processes: Processes
) -> None:
    cinema.assert_nothing_is_left(swept=True)
