from datetime import UTC, datetime
from typing import Any

import pytest

from app.jobs.story import (
    Attempt,
    EventKind,
    JobEvent,
    Position,
    end_of,
    ending,
    is_over,
    news,
    story,
    waiting,
)

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def job(status: str, *, attempt: int = 0, **facts: Any) -> dict[str, Any]:
    return {
        "id": "job_1",
        "status": status,
        "attempt": attempt,
        "created_at": NOON,
        "finished_at": None,
        "settled_at": None,
        "progress_done": 0,
        "progress_total": 0,
        "progress_unit": "frames",
        "progress_fps": None,
        **facts,
    }


def attempt(number: int, **facts: Any) -> Attempt:
    return Attempt(
        **{
            "number": number,
            "started_at": NOON,
            "finished_at": None,
            "outcome": None,
            "error": None,
            **facts,
        }
    )


def told(events: list[JobEvent]) -> list[tuple[str, str, str]]:
    return [
        (str(e.position), e.kind.value, e.data.get("status") or e.data.get("message") or "")
        for e in events
    ]


def test_a_job_that_waits_has_one_event() -> None:
    assert told(story(job("queued"), [])) == [("0", "status", "queued")]


def test_a_running_job_tells_where_it_is_and_how_far() -> None:
    running = job("processing", attempt=1, progress_done=30, progress_total=120, progress_fps=15.0)
    events = story(running, [attempt(1)])
    assert told(events) == [
        ("0", "status", "queued"),
        ("11", "status", "starting"),
        ("12", "status", "processing"),
        ("12.30", "progress", ""),
    ]
    assert events[-1].data == {
        "done": 30,
        "total": 120,
        "unit": "frames",
        "fps": 15.0,
        "percent": 25.0,
        "remaining_s": 6.0,
        "attempt": 1,
    }


def test_an_attempt_that_was_lost_is_told_and_the_next_one_follows() -> None:
    error = {"code": "out_of_memory", "detail": "no memory left", "retryable": True}
    attempts = [attempt(2), attempt(1, finished_at=NOON, outcome="lost", error=error)]
    assert told(story(job("starting", attempt=2), attempts)) == [
        ("0", "status", "queued"),
        ("11", "status", "starting"),
        ("14", "log", "attempt 1 ended without a result: no memory left"),
        ("15", "status", "queued"),
        ("21", "status", "starting"),
    ]


def test_a_job_that_waits_again_says_so() -> None:
    attempts = [attempt(1, finished_at=NOON, outcome="lost")]
    assert told(story(job("queued", attempt=1), attempts))[-2:] == [
        ("14", "log", "attempt 1 ended without a result: its worker was lost"),
        ("15", "status", "queued"),
    ]


def test_a_listener_hears_only_what_is_new() -> None:
    running = job("processing", attempt=1, progress_done=30, progress_total=120)
    events = [attempt(1)]
    assert told(news(running, events, since=Position(12, 29))) == [("12.30", "progress", "")]
    assert news(running, events, since=Position(12, 30)) == []
    assert [e.kind for e in news(running, events, since=Position(11))] == [
        EventKind.STATUS,
        EventKind.PROGRESS,
    ]


def test_progress_of_a_second_attempt_is_new_although_less_is_done() -> None:
    again = job("processing", attempt=2, progress_done=1, progress_total=120)
    heard = Position(12, 100)
    attempts = [attempt(1, finished_at=NOON, outcome="lost"), attempt(2)]
    assert str(news(again, attempts, since=heard)[-1].position) == "22.1"


def test_the_end_is_behind_everything_and_carries_the_job() -> None:
    ended = job("succeeded", attempt=3, finished_at=NOON, settled_at=NOON)
    last = ending(ended, {"id": "job_1"})
    assert last.position == end_of(ended) == Position(39)
    assert last.data == {
        "status": "succeeded",
        "attempt": 3,
        "at": "2026-11-26T12:00:00.000Z",
        "job": {"id": "job_1"},
    }
    assert all(e.position < last.position for e in story(ended, [attempt(3)]))


@pytest.mark.parametrize(
    ("status", "settled", "over"),
    [("succeeded", NOON, True), ("succeeded", None, False), ("processing", None, False)],
)
def test_a_job_is_over_when_its_price_is_booked(
    status: str, settled: datetime | None, over: bool
) -> None:
    assert is_over(job(status, settled_at=settled)) is over


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (None, Position()),
        ("", Position()),
        ("12", Position(12)),
        ("12.30", Position(12, 30)),
        ("-1", Position()),
        ("12.30.4", Position()),
        ("9" * 40, Position()),
        ("abc", Position()),
    ],
)
def test_a_position_is_read_back_and_anything_else_is_the_beginning(
    text: str | None, position: Position
) -> None:
    assert Position.parse(text) == position
    assert Position.parse(str(Position(12, 30))) == Position(12, 30)


def test_the_place_in_the_queue_belongs_to_the_wait() -> None:
    assert waiting(job("queued"), 4).position == Position(0)
    assert waiting(job("queued", attempt=1), 1).position == Position(15)
