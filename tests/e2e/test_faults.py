"""What is promised when a process dies: nothing lost, nothing charged twice."""

import os
import signal
import time

from app.client.errors import ClientError
from tests.e2e.waiting import wait_until


def detect(client, path, **params):
    file_id = client.upload(path)["id"]
    params = {"img_size": 416, **params}
    return {
        "engine": "detect",
        "model": "builtin",
        "input": {"target": {"file": file_id}},
        "params": params,
    }


def test_a_killed_gpu_worker_costs_time_and_nothing_else(platform, client, clip):
    job = client.submit(detect(client, clip, annotate=True))

    def is_in_the_middle():
        progress = client.job(job["id"])["progress"]
        return 2 <= progress["done"] < progress["total"]

    wait_until(is_in_the_middle, timeout_s=60, what="the middle of the video")
    os.killpg(platform.process("gpu1")["pid"], signal.SIGKILL)
    taken_up_again = wait_until(
        lambda: client.job(job["id"])["attempt"] == 2, timeout_s=60, what="the second attempt"
    )
    assert taken_up_again < 30
    done = client.wait(job["id"], timeout_s=180)
    assert (done["status"], done["attempt"]) == ("succeeded", 2)
    assert done["progress"]["done"] == done["progress"]["total"]
    attempts = platform.query(
        "SELECT number, outcome FROM attempt WHERE job_id = %s ORDER BY number", job["id"]
    )
    assert attempts == [(1, "lost"), (2, "succeeded")]
    assert platform.query("SELECT count(*) FROM billing.charge WHERE job = %s", job["id"]) == [(1,)]
    assert done["usage"]["tokens"] <= done["quote"]["max_tokens"]
    assert client.balance()["held"] == 0


def test_jobs_are_accepted_while_redis_is_away_and_finish_when_it_is_back(
    platform, client, http, photos
):
    job = detect(client, photos.camera)
    supervisor, redis = platform.state["pid"], platform.process("redis")
    os.kill(supervisor, signal.SIGSTOP)  # so that Redis stays away for a while
    try:
        os.kill(redis["pid"], signal.SIGKILL)
        answers = [http.post("/v1/jobs", json=job) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [202] * 3
        wait_until(lambda: http.get("/readyz").json()["degraded"], timeout_s=10, what="degraded")
        assert http.get("/readyz").status_code == 200
        time.sleep(1.5)
        ids = [answer.json()["id"] for answer in answers]
        assert {client.job(job_id)["status"] for job_id in ids} == {"queued"}
    finally:
        os.kill(supervisor, signal.SIGCONT)
    done = client.wait_all(ids, timeout_s=120)
    assert {each["status"] for each in done.values()} == {"succeeded"}
    assert platform.process("redis")["restarts"] == redis["restarts"] + 1


def test_a_killed_postgres_comes_back_with_every_job(platform, client, photos):
    done_before = client.wait(client.submit(detect(client, photos.camera))["id"])
    job = detect(client, photos.camera)
    os.kill(platform.process("postgres")["pid"], signal.SIGKILL)
    wait_until(lambda: _answers(client, done_before["id"]), timeout_s=30, what="PostgreSQL")
    again = client.job(done_before["id"])
    assert (again["status"], again["usage"]) == ("succeeded", done_before["usage"])
    assert client.wait(client.submit(job)["id"], timeout_s=120)["status"] == "succeeded"


def _answers(client, job_id):
    try:
        return client.job(job_id)["id"] == job_id
    except ClientError:
        return False


def test_the_ledger_reconciles_after_all_of_it(platform):
    assert "The ledger reconciles." in platform.run("admin", "reconcile").stdout
