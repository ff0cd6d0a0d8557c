"""How usage looks in a terminal and in a picture."""

import io
from datetime import UTC, datetime
from pathlib import Path

import cv2
import pytest
from rich.console import Console

from app.cli.usage import _filters, show_usage
from app.cli.usage_plot import REST, draw_usage, stacked


def row(day: int, tokens: float, **facts) -> dict:
    return {
        "start": f"2026-01-{day:02}T00:00:00Z",
        "jobs": 2,
        "tokens": tokens,
        "average_tokens": tokens / 2,
        "gpu_ms": 1.5,
        "failures": 0,
        "cache_hits": 1,
        **facts,
    }


def test_a_table_ends_with_its_sum() -> None:
    console = Console(file=io.StringIO(), width=140)
    rows = [row(1, 3, engine="detect"), row(2, 4.5, engine=None)]
    show_usage(console, rows, group_by=["engine"])
    lines = console.file.getvalue().splitlines()
    assert lines[-1].split() == ["together", "4", "7.5", "1.875", "3", "0", "2"]
    assert lines[2].split()[:4] == ["2026-01-02T00:00:00Z", "-", "2", "4.5"]


def test_nothing_used_is_a_sentence() -> None:
    console = Console(file=io.StringIO())
    show_usage(console, [], group_by=[])
    assert console.file.getvalue() == "Nothing was used in this time.\n"


def test_bars_keep_the_eight_largest_groups_apart() -> None:
    rows = [row(1, number, end_user=f"u{number}") for number in range(1, 11)]
    series = stacked(rows, group_by=["end_user"])
    assert list(series) == [*(f"u{number}" for number in range(10, 2, -1)), REST]
    assert series[REST] == {datetime(2026, 1, 1, tzinfo=UTC): 3}


def test_a_report_is_drawn_as_a_picture(tmp_path: Path) -> None:
    rows = [row(day, day, engine=engine) for day in range(1, 20) for engine in ("a", "b")]
    draw_usage(tmp_path / "usage.png", rows, group_by=["engine"])
    picture = cv2.imread(str(tmp_path / "usage.png"))
    assert picture.shape == (600, 1200, 3)
    assert len({tuple(colour) for colour in picture.reshape(-1, 3)[::97]}) > 3
    draw_usage(tmp_path / "empty.png", [], group_by=[])


@pytest.mark.parametrize("pair", ["engine", "colour=red"])
def test_a_filter_that_is_none_is_refused(pair: str) -> None:
    with pytest.raises(Exception, match="NAME=VALUE"):
        _filters([pair])
