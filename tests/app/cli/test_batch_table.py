import io

from click.testing import CliRunner
from rich.console import Console

from app.cli.batch_table import BatchScreen, counts_text, print_batches, print_items
from app.cli.batches import batch as batch_command

COUNTS = dict.fromkeys(
    ("waiting", "queued", "running", "succeeded", "failed", "canceled", "expired", "refused",
     "invalid"), 0,
)  # fmt: skip
BATCH = {
    "id": "batch_01M80R6P4RGYQFNZ17NQA0YNSA",
    "status": "running",
    "total": 5,
    "counts": {**COUNTS, "running": 1, "succeeded": 3, "failed": 1},
    "tokens": 2.5,
    "tokens_quoted": 4,
    "created_at": "2026-01-01T00:00:00.000Z",
}
ITEM = {
    "index": 3,
    "status": "failed",
    "engine": "detect",
    "job": "job_01M80R6P4RGYQFNZ17NQA0YNSA",
    "tokens_quoted": 0.8,
    "tokens": 0,
    "gpu_ms": None,
    "error": {"code": "video_damaged", "detail": "Frame 7 cannot be decoded."},
}


def console():
    return Console(file=io.StringIO(), width=60)


def test_counts_leave_the_zeros_out_and_tell_the_tokens():
    assert counts_text(BATCH) == (
        "1 running, 3 succeeded, 1 failed; 2.5 of at most 4 tokens charged"
    )


def test_items_tell_their_file_and_why_they_failed_on_a_narrow_terminal():
    wide = console()
    print_items(wide, [ITEM], names={3: "night/clip [3].mp4"}, outputs={})
    text = wide.file.getvalue()
    for part in ("night/clip [3].mp4", ITEM["job"], "Frame 7 cannot be decoded.", "0.8"):
        assert part in text


def test_batches_tell_how_many_came_to_nothing():
    wide = console()
    counts = {**BATCH["counts"], "invalid": 2}
    print_batches(wide, [{**BATCH, "counts": counts}])
    assert wide.file.getvalue().splitlines()[1].split()[2:7] == ["5", "3", "3", "4", "2.5"]


def test_the_screen_draws_what_runs_and_how_far_it_is():
    screen_console = console()
    with BatchScreen(screen_console, {3: "clip.mp4"}) as screen:
        screen.show(BATCH, [ITEM])
    text = screen_console.file.getvalue()
    assert "4/5" in text
    assert "clip.mp4" in text


def test_a_first_word_that_is_no_command_is_an_id():
    usage = CliRunner().invoke(batch_command, ["batch_01", "--help"]).output
    assert "batch show" in usage
    assert "batch cancel" in CliRunner().invoke(batch_command, ["cancel", "--help"]).output
