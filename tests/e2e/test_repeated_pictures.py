"""The same picture again: served from the cache, and told about when it comes too often."""

import hashlib
import json
import subprocess
import sys
import time

import httpx
import pytest

from app.client.client import Client
from tests.app.web_server import serving
from tests.e2e.waiting import wait_until


@pytest.fixture(scope="module")
def customer(platform):
    """A tenant of its own: what others send does not count."""
    headers = {"Authorization": f"Bearer {platform.dev['admin_key']}"}
    with httpx.Client(base_url=platform.dev["base_url"], headers=headers) as admin:
        body = {"name": "archive", "tokens": 500}
        tenant = admin.post("/v1/admin/tenants", json=body).json()["id"]
        key = admin.post(f"/v1/admin/tenants/{tenant}/keys", json={}).json()["key"]
        yield admin, tenant, key


@pytest.fixture
def archive(platform, customer):
    with Client.connect(platform.dev["base_url"], customer[2]) as client:
        yield client


def colour(client, path, **fields):
    """Upload the picture as if it were new, colour it and give the settled job."""
    file_id = client.upload(path)["id"]
    job = {"engine": "colorize", "input": {"target": {"file": file_id}}, **fields}
    return client.wait(client.submit(job)["id"], timeout_s=90)


def test_the_same_picture_within_a_day_costs_nothing_and_is_the_same(archive, picture_of):
    picture = picture_of(640, 400)
    first, again = colour(archive, picture), colour(archive, picture)
    assert first["usage"]["cached"] is False
    assert first["usage"]["tokens"] > 0
    assert (again["usage"]["cached"], again["usage"]["tokens"]) == (True, 0)
    results = [job["output"]["files"][0] for job in (first, again)]
    assert results[0]["sha256"] == results[1]["sha256"]
    assert results[0]["id"] != results[1]["id"]
    other = colour(archive, picture, params={"type": "person"})
    anew = colour(archive, picture, cache=False)
    assert [job["usage"]["cached"] for job in (other, anew)] == [False, False]


def test_a_picture_sent_too_often_raises_the_event_once(platform, customer, archive, picture_of):
    admin, tenant, key = customer
    rule = {"kind": "repeat", "max_times": 2, "minutes": 10, "tenant": tenant}
    assert admin.post("/v1/admin/anomaly-rules", json=rule).status_code == 201
    heard, picture = [], picture_of(320, 200)

    def answer(connection):
        content = b""
        while b"}}" not in content:
            content += connection.recv(65536)
        heard.append(json.loads(content.partition(b"\r\n\r\n")[2]))
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with serving(answer, times=20) as port:
        endpoint = {"url": f"http://127.0.0.1:{port}/hook", "events": ["anomaly.detected"]}
        made = httpx.post(
            f"{platform.dev['base_url']}/v1/webhook-endpoints",
            json=endpoint,
            headers={"Authorization": f"Bearer {key}"},
        )
        assert made.status_code == 201, made.text
        for _ in range(3):
            colour(archive, picture)
        look_for_anomalies(platform)
        wait_until(lambda: bool(heard), timeout_s=30, what="the event")
        look_for_anomalies(platform)
        time.sleep(2)
    content = hashlib.sha256(picture.read_bytes()).hexdigest()
    told = [event["data"] for event in heard if event["data"]["subject"] == content]
    assert [(each["subject_kind"], each["observed"]) for each in told] == [("content", 3)]
    found = admin.get("/v1/admin/anomalies", params={"tenant": tenant}).json()["data"]
    assert [each["observed"] for each in found if each["subject"] == content] == [3]


def look_for_anomalies(platform):
    """What the clock does every five minutes, now."""
    state = platform.state
    environment = {
        **platform.environment,
        "DATABASE_URL": state["database_url"],
        "REDIS_URL": state["redis_url"],
    }
    task = "workers.anomalies.find_anomalies"
    subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.celery_app", "call", task],
        env=environment,
        check=True,
        capture_output=True,
        timeout=60,
    )
