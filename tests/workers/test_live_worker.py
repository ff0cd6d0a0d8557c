"""The real processes together: dispatcher, Celery workers, Redis and PostgreSQL.

One set of processes serves all tests, in order; each leaves them working.
"""

import base64
import json
import os
import pickle
import shutil
import signal
import tempfile
import time
import uuid
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from app.catalog.service import RESOLVED_TTL_S
from app.db import open_engine, session_factory
from engines.activation import activate, activate_previous
from tests.conftest import _with_database
from tests.networks import write_one_box
from tests.workers.miniature import Platform, environment_of, settings_of
from tests.workers.processes import BILLING, GPU, WEBHOOKS, Processes, wait_until
from tests.workers.redis_server import RedisServer
from workers.routing import TaskName

SMALL = {"img_size": 64}
WARM = "detect:yolov8s,detect:yolov8x,detect:abacus,yolov8n,comic:any"
SLOW = {"img_size": 1408}  # seconds of HOG on a picture this large


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    folder = Path(tempfile.mkdtemp(prefix="pmr-"))
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def database_url(postgres_url: str, template_database: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    yield _with_database(postgres_url, name)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="module")
def platform(
    database_url: str, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Platform]:
    home = tmp_path_factory.mktemp("live") / "home"
    engine = open_engine(database_url)
    platform = Platform(settings_of(home, database_url, redis_server.url), session_factory(engine))
    platform.registry.add("yolov8s", write_one_box(home.parent / "warm.onnx"), licence="MIT")
    yield platform
    platform.services.close()
    engine.dispose()


@pytest.fixture(scope="module")
def pictures(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """File ids of a small and of a large photograph."""
    from PIL import Image
    from skimage import data

    folder = tmp_path_factory.mktemp("pictures")
    ids = {}
    for name, side in (("small", 128), ("large", 1408)):
        path = folder / f"{name}.jpg"
        Image.fromarray(data.astronaut()).resize((side, side)).save(path)
        ids[name] = platform.upload(path)
    return ids


@pytest.fixture(scope="module")
def processes(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    environment = environment_of(platform.settings) | {"PIXELMETER_WARM_MODELS": WARM}
    processes = Processes(tmp_path_factory.mktemp("logs"), environment)
    processes.celery("gpu", *GPU)
    processes.celery("billing", *BILLING)
    processes.celery("webhooks", *WEBHOOKS)
    processes.start("dispatcher", "workers.dispatcher")
    try:
        for name in ("gpu", "billing", "webhooks"):
            processes.wait_for(name, "ready.")
        yield processes
    finally:
        processes.stop_all()


def submit(platform: Platform, pictures: dict[str, str], size: str, **fields: Any) -> str:
    params = SMALL if size == "small" else SLOW
    target = {"target": {"file": pictures[size]}}
    return platform.submit(input=target, params=params, **fields)


def child_of(processes: Processes, name: str) -> psutil.Process:
    """The prefork child that runs the tasks."""
    parent = psutil.Process(processes._running[name].pid)
    return next(each for each in parent.children() if "spawn_main" in " ".join(each.cmdline()))


def charges(platform: Platform, job_id: str) -> int:
    return int(platform.scalar("SELECT count(*) FROM billing.charge WHERE job = :id", id=job_id))


def test_a_job_goes_from_submit_to_settled(
    platform: Platform, processes: Processes, pictures: dict[str, str]
) -> None:
    job = platform.wait_settled(submit(platform, pictures, "small"), timeout_s=60)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
    assert job["usage"]["tokens"] == 0.01
    platform.reconcile()


def test_pinned_models_are_warm_for_the_first_job_and_wrong_ones_stop_nothing(
    platform: Platform, processes: Processes, pictures: dict[str, str]
) -> None:
    job = platform.wait_settled(submit(platform, pictures, "small", model="yolov8s"))
    cold_start_ms = platform.scalar(
        "SELECT (usage_report ->> 'cold_start_ms')::float FROM attempt WHERE job_id = :id",
        id=job["id"],
    )
    assert (job["status"], cold_start_ms) == ("succeeded", 0)
    told = processes.text("gpu")
    assert "yolov8s@1 of detect is warm: 1 networks on onnxruntime in " in told
    assert (
        "yolov8x@1 of detect is not warm: yolov8x@1 runs on weights that you bring: export" in told
    )
    assert "cannot warm up detect:abacus: detect has no model 'abacus'" in told
    assert "cannot warm up 'yolov8n': write ENGINE:MODEL" in told
    assert "cannot warm up comic:any: there is no engine 'comic'" in told


def test_messages_of_others_are_dropped_and_the_worker_lives(
    platform: Platform, processes: Processes, pictures: dict[str, str], redis_server: RedisServer
) -> None:
    """Duplicates, yesterday's messages, unknown tasks, wrong arguments, pickles, plain rubbish."""
    done = platform.wait_settled(submit(platform, pictures, "small"))
    before = psutil.Process(processes._running["gpu"].pid).create_time()
    with redis_server.client() as client:
        for body in (
            envelope(TaskName.RUN_JOB.value, [done["id"]]),
            envelope(TaskName.RUN_JOB.value, [done["id"]]),
            envelope(TaskName.RUN_JOB.value, ["job_of_yesterday"]),
            envelope(TaskName.RUN_JOB.value, []),
            envelope(TaskName.RUN_JOB.value, [{"not": "a text"}]),
            envelope(TaskName.RUN_JOB.value, ["x" * 1_000_000]),
            envelope("os.system", ["true"]),
            envelope(TaskName.RUN_JOB.value, [done["id"]], pickled=True),
        ):
            client.lpush("engine.detect", body)
    job = platform.wait_settled(submit(platform, pictures, "small"))
    assert job["status"] == "succeeded"
    assert psutil.Process(processes._running["gpu"].pid).create_time() == before
    assert platform.job(done["id"]) == done
    assert charges(platform, done["id"]) == 1
    wait_until(
        lambda: redis_server.client().zcard("unacked_index") == 0, what="everything acknowledged"
    )


@pytest.mark.parametrize("rubbish", [b"rubbish", b"\xff\xfe\x00", b"[]", b"null", b"{}"])
def test_what_is_no_message_at_all_does_not_stop_the_queue(
    platform: Platform,
    processes: Processes,
    pictures: dict[str, str],
    redis_server: RedisServer,
    rubbish: bytes,
) -> None:
    with redis_server.client() as client:
        client.lpush("engine.detect", rubbish)
    job = platform.wait_settled(submit(platform, pictures, "small"), timeout_s=45)
    assert job["status"] == "succeeded"
    assert processes.is_alive("gpu")


def envelope(task: str, args: list[Any], *, pickled: bool = False) -> str:
    """A message as kombu writes it."""
    if pickled:
        body, kind = pickle.dumps((args, {}, None)), "application/x-python-serialize"
    else:
        body, kind = json.dumps([args, {}, {}]).encode(), "application/json"
    task_id = uuid.uuid4().hex
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "binary" if pickled else "utf-8",
            "content-type": kind,
            "headers": {"lang": "py", "task": task, "id": task_id, "retries": 0},
            "properties": {
                "correlation_id": task_id,
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "engine.detect"},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": task_id,
            },
        }
    )


def test_a_killed_child_is_replaced_and_its_job_charged_once(
    platform: Platform, processes: Processes, pictures: dict[str, str]
) -> None:
    job_id = submit(platform, pictures, "large")
    platform.wait(job_id, "processing")
    child_of(processes, "gpu").kill()
    platform.change("UPDATE job SET lease_expires_at = clock_timestamp() WHERE id = :id", id=job_id)
    job = platform.wait_settled(job_id, timeout_s=60)
    assert (job["status"], job["attempt"]) == ("succeeded", 2)
    assert charges(platform, job_id) == 1
    outcomes = platform.scalar(
        "SELECT string_agg(outcome, ',' ORDER BY number) FROM attempt WHERE job_id = :id",
        id=job_id,
    )
    assert outcomes == "lost,succeeded"
    platform.reconcile()


def test_a_child_killed_in_the_middle_of_a_gathered_run_loses_nothing_and_charges_once(
    platform: Platform, processes: Processes, pictures: dict[str, str]
) -> None:
    jobs = [submit(platform, pictures, "large") for _ in range(4)]
    taken = "SELECT count(*) FROM job WHERE id = ANY(:ids) AND status = 'processing'"
    wait_until(lambda: platform.scalar(taken, ids=jobs) >= 3, what="several under way")
    child_of(processes, "gpu").kill()
    platform.change(
        "UPDATE job SET lease_expires_at = clock_timestamp()"
        " WHERE id = ANY(:ids) AND status = 'processing'",
        ids=jobs,
    )
    for job_id in jobs:
        job = platform.wait_settled(job_id, timeout_s=90)
        assert job["status"] == "succeeded"
        assert charges(platform, job_id) == 1
    lost = "SELECT count(*) FROM attempt WHERE job_id = ANY(:ids) AND outcome = 'lost'"
    assert platform.scalar(lost, ids=jobs) >= 3
    platform.reconcile()


def test_versions_change_cleanly_while_a_hundred_jobs_flow(
    platform: Platform, processes: Processes, pictures: dict[str, str], tmp_path: Path
) -> None:
    for class_id in (0, 2):
        path = write_one_box(tmp_path / f"{class_id}.onnx", class_id=class_id)
        platform.registry.add("yolov8m", path, licence="MIT", activate=False)
    jobs: list[str] = []

    def flow(count: int) -> None:
        """Submit at 40 per second, as others do meanwhile."""
        for _ in range(count):
            jobs.append(submit(platform, pictures, "small", model="yolov8m"))
            time.sleep(0.025)

    flow(30)
    activate(platform.registry, "detect", "yolov8m@2")
    flow(100)  # longer than a process remembers what a name means
    activate_previous(platform.registry, "detect", "yolov8m")
    flow(20)
    time.sleep(RESOLVED_TTL_S)
    flow(5)
    ended = [platform.wait_settled(job_id, timeout_s=90) for job_id in jobs]
    assert {job["status"] for job in ended} == {"succeeded"}
    assert {job["attempt"] for job in ended} == {1}
    order = [name for name, _ in groupby(job["model"] for job in ended)]
    assert order == ["yolov8m@1", "yolov8m@2", "yolov8m@1"]
    for job in ended:
        found = job["output"]["data"]["predictions"][0]["label"]
        assert found == {"yolov8m@1": "person", "yolov8m@2": "car"}[job["model"]]
    platform.reconcile()


def test_a_stopped_worker_that_comes_back_writes_nothing(
    platform: Platform, processes: Processes, pictures: dict[str, str]
) -> None:
    job_id = submit(platform, pictures, "large")
    platform.wait(job_id, "processing")
    processes.kill("gpu", signal.SIGSTOP)
    platform.change("UPDATE job SET lease_expires_at = clock_timestamp() WHERE id = :id", id=job_id)
    platform.wait(job_id, "queued")
    platform.change(
        "UPDATE job SET status = 'starting', attempt = 2, lease_owner = 'other',"
        " lease_expires_at = clock_timestamp() + interval '1 hour' WHERE id = :id",
        id=job_id,
    )
    processes.kill("gpu", signal.SIGCONT)
    wait_until(
        lambda: (
            f"no longer owns {job_id}" in processes.text("gpu")
            or "superseded" in processes.text("gpu")
        ),
        what="the refusal",
    )
    job = platform.job(job_id)
    assert (job["status"], job["attempt"], job["lease_owner"]) == ("starting", 2, "other")
    assert (
        platform.scalar("SELECT count(*) FROM billing.usage_record WHERE job = :id", id=job_id) == 0
    )
    platform.change("UPDATE job SET lease_expires_at = clock_timestamp() WHERE id = :id", id=job_id)
    platform.wait_settled(job_id, timeout_s=60)


def test_jobs_wait_for_a_redis_that_was_killed(
    platform: Platform, processes: Processes, pictures: dict[str, str], redis_server: RedisServer
) -> None:
    running = submit(platform, pictures, "large")
    platform.wait(running, "processing")
    redis_server.kill()
    jobs = [running] + [submit(platform, pictures, "small") for _ in range(3)]
    wait_until(lambda: "the broker is away" in processes.text("dispatcher"), what="the outage")
    redis_server.start()
    for job_id in jobs:
        assert platform.wait_settled(job_id, timeout_s=60)["status"] == "succeeded"
    assert processes.text("dispatcher").count("the broker is away") == 1
    assert all(charges(platform, job_id) == 1 for job_id in jobs)
    assert platform.job(running)["attempt"] == 1
    assert all(processes.is_alive(name) for name in ("gpu", "billing", "webhooks"))
    platform.reconcile()


def test_a_deploy_lets_the_running_job_finish(
    platform: Platform, processes: Processes, pictures: dict[str, str]
) -> None:
    job_id = submit(platform, pictures, "large")
    platform.wait(job_id, "processing")
    os.kill(processes._running["gpu"].pid, signal.SIGTERM)
    job = platform.wait_settled(job_id, timeout_s=30)
    assert (job["status"], job["attempt"]) == ("succeeded", 1)
