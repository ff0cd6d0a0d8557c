"""A report drawn as stacked bars: tokens over time, one colour per group."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

GROUPS_MAX: Final = 8  # colours that an eye can tell apart; the rest is one more
REST: Final = "all others"
DAY_S: Final = 86_400
NARROWEST: Final = 0.8  # of the smallest distance between two bars


def draw_usage(path: Path, rows: Sequence[Mapping[str, Any]], *, group_by: Sequence[str]) -> None:
    """Write a PNG; the largest eight groups have a colour of their own."""
    series = stacked(rows, group_by=group_by)
    starts = sorted({datetime.fromisoformat(row["start"]) for row in rows})
    places = [start.timestamp() / DAY_S for start in starts]  # days since 1970, as axes count
    gaps = [after - before for before, after in pairwise(places)]
    width = NARROWEST * min(gaps, default=1.0)
    figure = Figure(figsize=(10, 5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    floor = [0.0] * len(starts)
    for name, by_start in series.items():
        heights = [by_start.get(start, 0.0) for start in starts]
        axes.bar(places, heights, width, bottom=floor, label=name)
        floor = [low + high for low, high in zip(floor, heights, strict=True)]
    locator = AutoDateLocator()  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
    axes.set_ylabel("tokens")
    axes.set_xlabel("time (UTC)")
    axes.set_title("Tokens used" + (f" by {', '.join(group_by)}" if group_by else ""))
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    if group_by and series:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    FigureCanvasAgg(figure).print_png(str(path))  # type: ignore[no-untyped-call]


def stacked(
    rows: Sequence[Mapping[str, Any]], *, group_by: Sequence[str]
) -> dict[str, dict[datetime, float]]:
    """Tokens by group and start, the largest group first; what is beyond eight is one."""
    totals: dict[str, float] = {}
    for row in rows:
        totals[_name(row, group_by)] = totals.get(_name(row, group_by), 0.0) + row["tokens"]
    largest = sorted(totals, key=lambda name: (-totals[name], name))[:GROUPS_MAX]
    series: dict[str, dict[datetime, float]] = {name: {} for name in largest}
    for row in rows:
        name = _name(row, group_by)
        by_start = series.setdefault(name if name in largest else REST, {})
        start = datetime.fromisoformat(row["start"])
        by_start[start] = by_start.get(start, 0.0) + row["tokens"]
    return series


def _name(row: Mapping[str, Any], group_by: Sequence[str]) -> str:
    return " / ".join(str(row[name] or "-") for name in group_by) or "tokens"
