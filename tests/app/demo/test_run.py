import json
import shutil
from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks import Webhook

from app.demo.media import find_photos
from app.demo.plan import DemoJob
from app.demo.run import run_demo


class FakePlatform:
    """The client over a wallet in memory: every job ends at once and sends its webhook."""

    def __init__(self, *, tokens=6, charged=None, status="succeeded", secret=None, hooks=True):
        self.available = 100
        self.tokens = tokens
        self.charged = tokens if charged is None else charged
        self.status = status
        self.secret = secret  # of the webhooks; None: the one that was asked for
        self.hooks = hooks
        self.sent = []

    def balance(self):
        return {"available": self.available, "held": 0}

    def upload(self, path):
        return {"id": f"file_{path.name}"}

    def submit(self, body):
        self.sent.append(body)
        return {"id": f"job_{len(self.sent)}", "status": "queued"}

    def wait_all(self, submitted, *, timeout_s, progress):
        jobs = {job_id: self._ended(job_id) for job_id in submitted}
        for job, body in zip(jobs.values(), self.sent, strict=True):
            progress(job)
            self.available -= self.charged
            if self.hooks:
                self._send(job, body["webhook"])
        return jobs

    def _ended(self, job_id):
        return {
            "id": job_id,
            "engine": "detect",
            "model": "builtin@1",
            "status": self.status,
            "error": None if self.status == "succeeded" else {"detail": "It broke."},
            "quote": {"max_tokens": self.tokens},
            "usage": {"tokens": self.tokens, "gpu_ms": 12.5},
            "output": {"data": {"predictions": [{"label": "person"}]}, "files": []},
        }

    def _send(self, job, webhook):
        body = json.dumps({"type": "job.succeeded", "data": {"id": job["id"]}})
        now = datetime.now(UTC)
        signer = Webhook(self.secret or webhook["secret"])
        headers = {
            "webhook-id": "dlv_1",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signer.sign("dlv_1", now, body),
        }
        httpx.post(webhook["url"], content=body, headers=headers)


class Watcher:
    def __init__(self):
        self.added, self.looks = [], []

    def add(self, job, name):
        self.added.append(name)

    def show(self, job):
        self.looks.append(job["status"])


def run(platform, out, *, findings=()):
    photos = find_photos()
    plan = [
        DemoJob("one", "detect", photos.camera, {}),
        DemoJob("two", "face-swap", photos.camera, {}, (photos.hopper,)),
    ]

    def save(job, stem):
        path = out / f"{job['id']}.png"
        shutil.copy(photos.camera, path)
        return [path]

    return run_demo(
        platform, plan, out=out, watcher=Watcher(), save=save, reconcile=lambda: list(findings)
    )


def test_a_run_without_a_flaw_has_no_problems_and_a_sheet(tmp_path):
    platform = FakePlatform()
    report = run(platform, tmp_path)
    assert report.problems == []
    assert (report.balance_before, report.balance_after, report.charged) == (100, 88, 12)
    assert report.webhooks == 2
    assert report.sheet.is_file()
    assert platform.sent[1]["input"]["source"] == [{"file": "file_grace_hopper.jpg"}]


@pytest.mark.parametrize(
    ("flaw", "words"),
    [
        ({"status": "failed"}, "It broke."),
        ({"charged": 7}, "the balance fell by 14, the jobs were charged 12"),
        ({"secret": "whsec_b3RoZXIgYnl0ZXMgZm9yIGEgdGVzdCBzZWNyZXQ="}, "wrong signature"),
        ({"hooks": False}, "no verified webhook arrived"),
    ],
)
def test_a_flaw_is_a_problem(tmp_path, monkeypatch, flaw, words):
    monkeypatch.setattr("app.demo.run.WEBHOOKS_TIMEOUT_S", 0.2)
    report = run(FakePlatform(**flaw), tmp_path)
    assert any(words in problem for problem in report.problems)


def test_a_finding_in_the_ledger_is_a_problem(tmp_path):
    assert run(FakePlatform(), tmp_path, findings=["it is off"]).problems == ["it is off"]
