"""The public Job object, field by field."""

from datetime import UTC, datetime, timedelta

import pytest

from app.files.links import LinkSigner, link_signer
from app.jobs.record import JobRow
from app.jobs.states import JobStatus
from app.jobs.view import job_view
from app.secret_box import SecretBox
from tests.app.jobs.shop import Shop, usage_report

FIELDS = [
    "id", "object", "engine", "model", "status", "priority", "created_at", "started_at",
    "finished_at", "expires_at", "queue_position", "progress", "attempt", "segments", "quote",
    "usage", "output", "error", "batch", "project", "user", "metadata", "links",
]  # fmt: skip


@pytest.fixture
def links() -> LinkSigner:
    return link_signer(base_url="https://api.example", box=SecretBox("a secret of enough length"))


def test_a_fresh_job_has_every_field_of_the_public_page(shop: Shop, links: LinkSigner) -> None:
    job = shop.submitted(user="u-1", project="alpha", metadata={"k": 1}).job
    view = job_view(job, links=links, now=datetime.now(UTC), queue_position=3)
    assert list(view) == FIELDS
    assert (view["object"], view["status"], view["queue_position"]) == ("job", "queued", 3)
    price = {"tokens": 0.3, "max_tokens": 0.3, "rate_card": "yolo@1"}
    assert view["quote"] == {**price, "multipliers": []}
    assert view["progress"] == {"done": 0, "total": 0, "unit": "", "fps": None}
    assert (view["user"], view["project"], view["metadata"]) == ("u-1", "alpha", {"k": 1})
    assert (
        view["segments"]
        is view["usage"]
        is view["output"]
        is view["error"]
        is view["batch"]
        is None
    )
    assert view["created_at"].endswith("Z")
    path = f"https://api.example/v1/jobs/{job['id']}"
    assert view["links"] == {
        "self": path,
        "cancel": f"{path}/cancel",
        "events": f"{path}/events",
        "compare": None,
    }


def _finished(shop: Shop) -> JobRow:
    run = shop.claimed(shop.submit())
    shop.advance(run, JobStatus.PROCESSING)
    shop.advance(run, JobStatus.FINALIZING)
    entry = {"id": "file_9", "name": "a.png", "media_type": "image/png", "bytes": 9, "sha256": "ab"}
    output = {"files": [entry], "data": {"n": 1}}
    return shop.finish(run, JobStatus.SUCCEEDED, output=output, usage=usage_report())


def test_outputs_carry_links_until_they_expire(shop: Shop, links: LinkSigner) -> None:
    job = _finished(shop)
    now = datetime.now(UTC)
    output = job_view(job, links=links, now=now)["output"]
    assert output["data"] == {"n": 1}
    [file] = output["files"]
    assert file["url"].startswith("https://api.example/v1/files/file_9/content?exp=")
    assert (file["media_type"], file["bytes"], file["sha256"]) == ("image/png", 9, "ab")
    later = job_view(job, links=links, now=now + timedelta(days=8))["output"]
    assert later["files"][0]["url"] is None


def test_times_are_utc_with_milliseconds(shop: Shop, links: LinkSigner) -> None:
    job = dict(_finished(shop), created_at=datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC))
    view = job_view(job, links=links, now=datetime.now(UTC))
    assert view["created_at"] == "2026-11-22T12:00:00.123Z"
    assert view["finished_at"].endswith("Z")
