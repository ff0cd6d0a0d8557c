import io

import pytest
from rich.console import Console

from app.cli.job_table import JobProgress, event_line, print_jobs, tokens_text
from app.client.events import ServerEvent

JOB = {
    "id": "job_01M80R6P4RGYQFNZ17NQA0YNSA",
    "engine": "detect",
    "model": "builtin@1",
    "status": "succeeded",
    "started_at": "2026-01-01T00:00:00.000Z",
    "finished_at": "2026-01-01T00:00:01.500Z",
    "quote": {"tokens": 6, "max_tokens": 6, "rate_card": "yolo@1"},
    "usage": {"tokens": 5.625, "gpu_ms": 31.4},
    "error": None,
    "progress": {"done": 0, "total": 0, "unit": "", "fps": None},
}


def printed(jobs, **outputs):
    console = Console(file=io.StringIO(), width=60)
    print_jobs(console, jobs, outputs=outputs)
    return console.file.getvalue()


def test_ids_and_paths_are_whole_on_a_narrow_terminal():
    text = printed([JOB], **{JOB["id"]: ["results/photo-detect.png"]})
    for part in (JOB["id"], "results/photo-detect.png", "5.625", "1.50", "31"):
        assert part in text


def test_a_failed_job_tells_why():
    job = {**JOB, "status": "failed", "usage": None, "started_at": None}
    text = printed([{**job, "error": {"code": "no_face", "detail": "There is no face."}}])
    assert "There is no face." in text
    assert "no_face" in text


def test_amounts_have_the_places_they_need():
    assert tokens_text(9999.4) == "9,999.4"
    assert tokens_text(10000) == "10,000"
    assert tokens_text(0.175) == "0.175"


def test_a_finished_bar_is_full():
    with JobProgress(Console(file=io.StringIO())) as progress:
        progress.add({**JOB, "status": "queued"}, "photo.png")
        progress.show({**JOB, "status": "processing", "progress": {"done": 3, "total": 10}})
        progress.show(JOB)
        assert progress._bars.finished


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("status", {"status": "queued", "attempt": 0}, "queued"),
        ("status", {"status": "starting", "attempt": 2}, "starting, attempt 2"),
        ("log", {"message": "attempt 1 ended"}, "attempt 1 ended"),
        ("progress", {"queue_position": 3}, "number 3 in the queue"),
        (
            "progress",
            {
                "done": 30,
                "total": 120,
                "unit": "frames",
                "percent": 25.0,
                "fps": 15.04,
                "remaining_s": 6.0,
            },
            "30 of 120 frames (25.0 %), 15.0 per second, about 6 s to go",
        ),
        (
            "progress",
            {
                "done": 1,
                "total": 2,
                "unit": "faces",
                "percent": 50.0,
                "fps": None,
                "remaining_s": None,
            },
            "1 of 2 faces (50.0 %)",
        ),
    ],
)
def test_an_event_is_a_line_of_words(kind, data, line):
    assert event_line(ServerEvent("1", kind, data)) == line
