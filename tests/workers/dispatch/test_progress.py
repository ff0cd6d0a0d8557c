"""Progress webhooks on a real database: told on request, once a step, never in a queue."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from app.webhooks.service import AttemptResult, claim_due, forget_fleeting, record_attempt
from tests.workers.miniature import Platform
from workers.dispatch.progress import ProgressNews

HOOK = {"url": "https://example.com/hook", "events": ["job.progress", "job.succeeded"]}


@pytest.fixture
def news(platform: Platform) -> ProgressNews:
    return ProgressNews(platform.services.links)


def announce(platform: Platform, news: ProgressNews) -> int:
    with platform.sessions.begin() as session:
        return len(news.announce(session, now=datetime.now(UTC)))


def run(platform: Platform, job_id: str, *, done: int, attempt: int = 1) -> None:
    platform.change(
        "UPDATE job SET status = CASE status WHEN 'queued' THEN 'starting' ELSE status END,"
        " attempt = :attempt, lease_owner = 'w',"
        " lease_expires_at = clock_timestamp() + interval '1 min',"
        " progress_done = :done, progress_total = 100, progress_unit = 'frames' WHERE id = :id",
        id=job_id,
        done=done,
        attempt=attempt,
    )


def send(platform: Platform, status: int) -> str:
    """Claim the delivery that is due and answer it."""
    with platform.sessions.begin() as session:
        due = claim_due(session, limit=10, claim_s=60)
        assert len(due) == 1
    with platform.sessions.begin() as session:
        result = AttemptResult(duration_ms=1, status_code=status)
        return record_attempt(
            session, delivery=due[0], result=result, jitter=0.0, now=datetime.now(UTC)
        )


def bodies(platform: Platform) -> list[dict[str, Any]]:
    found = platform.scalar(
        "SELECT coalesce(json_agg(body ORDER BY sequence), '[]') FROM webhook_event"
        " WHERE type = 'job.progress'"
    )
    return [json.loads(body) for body in found]


def test_each_step_is_told_once_with_a_growing_sequence(
    platform: Platform, news: ProgressNews
) -> None:
    job_id = platform.submit(webhook=HOOK)
    assert announce(platform, news) == 0
    run(platform, job_id, done=10)
    assert announce(platform, news) == 1
    assert send(platform, 200) == "delivered"
    assert announce(platform, news) == 0
    run(platform, job_id, done=20)
    assert announce(platform, news) == 1
    told = bodies(platform)
    assert [each["data"]["progress"]["done"] for each in told] == [10, 20]
    assert [each["sequence"] for each in told] == [1, 2]
    assert {each["type"] for each in told} == {"job.progress"}


def test_a_second_attempt_is_told_again(platform: Platform, news: ProgressNews) -> None:
    job_id = platform.submit(webhook=HOOK)
    run(platform, job_id, done=10)
    announce(platform, news)
    send(platform, 200)
    run(platform, job_id, done=10, attempt=2)
    assert announce(platform, news) == 1


def test_nobody_hears_of_progress_unasked(platform: Platform, news: ProgressNews) -> None:
    job_id = platform.submit(webhook={"url": "https://example.com/hook"})
    run(platform, job_id, done=10)
    assert announce(platform, news) == 0


def test_an_endpoint_that_names_it_hears_of_every_job(
    platform: Platform, news: ProgressNews
) -> None:
    platform.change(
        "INSERT INTO webhook_endpoint (id, tenant_id, url, events, secret, enabled)"
        " VALUES ('whe_1', :tenant, 'https://example.com/', '[\"job.progress\"]', 'x', true)",
        tenant=platform.tenant,
    )
    run(platform, platform.submit(), done=10)
    assert announce(platform, news) == 1


def test_a_slow_receiver_hears_less_and_never_of_old_progress_first(
    platform: Platform, news: ProgressNews
) -> None:
    job_id = platform.submit(webhook=HOOK)
    for done in (10, 20, 30):
        run(platform, job_id, done=done)
        announce(platform, news)
    assert send(platform, 200) == "delivered"
    assert announce(platform, news) == 1
    assert [each["data"]["progress"]["done"] for each in bodies(platform)] == [10, 30]


def test_progress_that_could_not_be_sent_is_not_tried_again(
    platform: Platform, news: ProgressNews
) -> None:
    run(platform, platform.submit(webhook=HOOK), done=10)
    announce(platform, news)
    assert send(platform, 500) == "exhausted"


def test_old_progress_is_forgotten_with_its_deliveries(
    platform: Platform, news: ProgressNews
) -> None:
    run(platform, platform.submit(webhook=HOOK), done=10)
    announce(platform, news)
    send(platform, 200)
    with platform.sessions.begin() as session:
        assert forget_fleeting(session) == 0
        assert forget_fleeting(session, age_s=-60) == 1
    for table in ("webhook_event", "webhook_delivery", "webhook_attempt"):
        assert platform.scalar(f"SELECT count(*) FROM {table}") == 0


def test_what_was_told_of_ended_jobs_is_not_kept(platform: Platform, news: ProgressNews) -> None:
    job_id = platform.submit(webhook=HOOK)
    run(platform, job_id, done=10)
    announce(platform, news)
    platform.change("UPDATE job SET status = 'failed', lease_expires_at = NULL")
    announce(platform, news)
    assert news._told == {}
