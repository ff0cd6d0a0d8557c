import json
import time
from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks import Webhook

from app.demo.errors import DemoError
from app.demo.receiver import Receiver

SECRET = "whsec_" + "bWFueSBieXRlcyBmb3IgYSB0ZXN0IHNlY3JldA=="
OTHER = "whsec_" + "b3RoZXIgYnl0ZXMgZm9yIGEgdGVzdCBzZWNyZXQ="


def post(url: str, job: str, *, secret: str = SECRET) -> httpx.Response:
    body = json.dumps({"type": "job.succeeded", "data": {"id": job}})
    now = datetime.now(UTC)
    headers = {
        "webhook-id": f"dlv_{job}",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(f"dlv_{job}", now, body),
    }
    return httpx.post(url, content=body, headers=headers)


def test_a_signed_event_is_accepted_and_known_by_its_job():
    with Receiver(SECRET) as receiver:
        assert post(receiver.url, "job_1").status_code == 204
        assert receiver.wait_for({"job_1"}, timeout_s=5) == set()
        [received] = receiver.received()
    assert (received.type, received.job, received.verified) == ("job.succeeded", "job_1", True)
    assert received.webhook_id == "dlv_job_1"


def test_a_wrong_signature_is_refused_and_does_not_count():
    with Receiver(SECRET) as receiver:
        assert post(receiver.url, "job_1", secret=OTHER).status_code == 401
        assert receiver.wait_for({"job_1"}, timeout_s=0.05) == {"job_1"}
        assert [each.verified for each in receiver.received()] == [False]


def test_waiting_ends_when_the_last_one_arrives():
    with Receiver(SECRET) as receiver:
        post(receiver.url, "job_1")
        post(receiver.url, "job_2")
        started = time.monotonic()
        assert receiver.wait_for({"job_1", "job_2"}, timeout_s=30) == set()
        assert time.monotonic() - started < 10


def test_a_missing_library_is_told_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "standardwebhooks", None)
    with pytest.raises(DemoError, match=r"standardwebhooks.*pip install"):
        Receiver(SECRET)
