"""Predicted against measured: one point for each run, saved as PNG."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.calibration.fit import NEAR, Calibration

_BLUE, _ORANGE, _GREY = "#14506e", "#d9822b", "#9aa5b1"


def save_plot(found: Calibration, path: Path) -> None:
    """Draw prices over costs, both in tokens on logarithmic axes, with the band of 5 %."""
    points = found.points
    figure = Figure(figsize=(7.5, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    everything = np.concatenate([points.cost, points.before, points.after])
    positive = everything[everything > 0]
    ends = np.array([positive.min() / 1.5, positive.max() * 1.5])
    axes.fill_between(
        ends, ends * (1 - NEAR), ends * (1 + NEAR), color=_BLUE, alpha=0.12, label="within 5 %"
    )
    axes.plot(ends, ends, color=_BLUE, linewidth=1)
    axes.scatter(points.cost, points.before, s=14, color=_GREY, label=f"{found.card.id} (now)")
    trained, tested = ~points.held_out, points.held_out
    for chosen, colour, name in ((trained, _BLUE, "fitted"), (tested, _ORANGE, "fitted, held out")):
        axes.scatter(
            points.cost[chosen], points.after[chosen], s=18, color=colour, alpha=0.7, label=name
        )
    near = f"{found.after.near:.0%} of the runs held out within 5 % of their cost"
    axes.set(
        xscale="log",
        yscale="log",
        xlim=tuple(ends),
        ylim=tuple(ends),
        xlabel=f"measured: tokens at {found.tokens_per_second:.4g} for a second of compute",
        ylabel="predicted: tokens by the card",
        title=f"{found.card.card}: {near} ({found.before.near:.0%} now)",
    )
    axes.grid(visible=True, which="major", color="#dde3ea", linewidth=0.6)
    axes.legend(loc="upper left", frameon=False)
    figure.savefig(path, format="png", dpi=130)
