"""Lists, positions and depths; a stranger's job does not exist."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session

from app.errors import NotFoundError
from app.jobs import queries
from app.jobs.queries import JobFilter
from app.jobs.states import JobStatus
from tests.app.jobs.shop import Shop


def test_a_job_is_found_by_its_tenant_only(
    open_shop: Callable[..., Shop], session: Session
) -> None:
    mine, other = open_shop("mine"), open_shop("other")
    job_id = mine.submit()
    assert queries.get(session, tenant_id=mine.tenant_id, job_id=job_id)["id"] == job_id
    for tenant_id, wanted in ((other.tenant_id, job_id), (mine.tenant_id, "job_unknown")):
        with pytest.raises(NotFoundError) as refusal:
            queries.get(session, tenant_id=tenant_id, job_id=wanted)
        assert refusal.value.code == "job_not_found"
    found = queries.by_id(session, job_id=job_id)
    assert found is not None
    assert queries.by_id(session, job_id="job_unknown") is None


def test_pages_follow_each_other_without_gap_or_repeat(
    open_shop: Callable[..., Shop], session: Session
) -> None:
    mine, other = open_shop("mine"), open_shop("other")
    made = [mine.submit() for _ in range(5)]
    other.submit()
    seen: list[str] = []
    after = None
    for size in (2, 2, 1):
        page = queries.list_jobs(session, tenant_id=mine.tenant_id, limit=2, after=after)
        assert len(page.jobs) == size
        seen += [job["id"] for job in page.jobs]
        after = page.next_cursor
        assert page.has_more is (after is not None)
    assert after is None
    assert sorted(seen, reverse=True) == seen
    assert set(seen) == set(made)


def test_every_filter_narrows_the_list(shop: Shop, session: Session) -> None:
    plain = shop.submit()
    tagged = shop.submit(project="alpha", metadata={"order": 7, "who": "me"}, priority="bulk")
    done = shop.submit()
    shop.succeed(shop.claimed(done))
    now = datetime.now(UTC)

    def ids(wanted: JobFilter) -> set[str]:
        page = queries.list_jobs(session, tenant_id=shop.tenant_id, wanted=wanted)
        return {job["id"] for job in page.jobs}

    everything = {plain, tagged, done}
    assert ids(JobFilter()) == everything
    assert ids(JobFilter(status=JobStatus.SUCCEEDED)) == {done}
    assert ids(JobFilter(engine="detect")) == everything
    assert ids(JobFilter(engine="colorize")) == set()
    assert ids(JobFilter(model="builtin")) == ids(JobFilter(model="builtin@1")) == everything
    assert ids(JobFilter(model="builtin@2")) == set()
    assert ids(JobFilter(project="alpha")) == {tagged}
    project_id = shop.job(tagged)["project_id"]
    assert ids(JobFilter(project=project_id)) == {tagged}
    assert ids(JobFilter(metadata={"order": "7"})) == {tagged}
    assert ids(JobFilter(metadata={"order": "7", "who": "you"})) == set()
    assert ids(JobFilter(created_before=now - timedelta(hours=1))) == set()
    assert ids(JobFilter(created_after=now - timedelta(hours=1))) == everything


def test_the_position_counts_sooner_classes_and_older_jobs(
    open_shop: Callable[..., Shop], session: Session
) -> None:
    mine, other = open_shop("mine"), open_shop("other")
    first, second = mine.submit(), other.submit()
    nightly = mine.submit(priority="nightly")
    urgent = mine.submit(priority="interactive")

    def position(job_id: str) -> int | None:
        job = queries.by_id(session, job_id=job_id)
        assert job is not None
        return queries.queue_position(session, job=job)

    assert [position(job_id) for job_id in (urgent, first, second, nightly)] == [1, 2, 3, 4]
    mine.claimed(urgent)
    session.rollback()
    assert position(urgent) is None
    assert position(first) == 1


def test_depths_tell_what_waits_where(shop: Shop, session: Session) -> None:
    assert queries.queue_depths(session) == []
    for priority in ("normal", "normal", "bulk"):
        shop.submit(priority=priority)
    shop.claimed(shop.submit())
    depths = queries.queue_depths(session)
    assert {(each.engine, each.priority): each.jobs for each in depths} == {
        ("detect", "normal"): 2,
        ("detect", "bulk"): 1,
    }
    assert all(0 <= each.oldest_s < 600 for each in depths)
    assert queries.running_count(session) == 1


def test_a_job_is_settled_only_after_its_price_is_booked(shop: Shop, session: Session) -> None:
    job_id = shop.submit()
    assert queries.is_settled(session, job_id=job_id) is False
    shop.do("UPDATE job SET settled_at = now()")
    session.rollback()
    assert queries.is_settled(session, job_id=job_id) is True
    assert queries.is_settled(session, job_id="job_unknown") is False
