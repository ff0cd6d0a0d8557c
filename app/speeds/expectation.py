"""How long a piece of work will run, from what was measured of its like. Pure.

The nearest kind is taken: the same variant before another one, then the nearest size, then the
nearest length. A size that was never measured is scaled by its pixels; what nobody ran is
estimated from the engines' own rough times, and says so.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.speeds.kinds import Kind, Sized

SAMPLES_MIN: Final = 3  # fewer runs say nothing about a percentile
DOUBT: Final = 3.0  # how much longer than a rough estimate a run may well be


class Basis(StrEnum):
    """Where an expectation comes from, the surest first."""

    MEASURED = "measured"  # runs of this kind
    SCALED = "scaled"  # runs of another size or variant
    ESTIMATED = "estimated"  # nothing of the kind ran here; the engine's rough times


@dataclass(frozen=True, slots=True)
class Speed:
    """A row of measured speeds."""

    kind: Kind
    device: str
    samples: int
    p50_ms: float
    p90_ms: float
    per_estimated: float
    charged_share: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """How long a run takes, loading of models excluded."""

    p50_s: float
    p90_s: float
    basis: Basis
    samples: int
    charged_share: float  # of the quote


def expect(speeds: Sequence[Speed], what: Sized, *, estimated_ms: float) -> Expectation:
    """The expectation for one piece of work; several devices count by their runs."""
    alike = [
        speed
        for speed in speeds
        if _same_model(speed.kind, what.kind) and speed.samples >= SAMPLES_MIN
    ]
    if not alike:
        seconds = estimated_ms / 1000
        return Expectation(seconds, seconds * DOUBT, Basis.ESTIMATED, 0, 1.0)
    nearest = min(_distance(speed.kind, what.kind) for speed in alike)
    chosen = [speed for speed in alike if _distance(speed.kind, what.kind) == nearest]
    samples = sum(speed.samples for speed in chosen)
    factor = what.units * 2.0 ** (what.kind.size_class - chosen[0].kind.size_class) / 1000
    is_same = nearest[:2] == (False, 0)
    return Expectation(
        p50_s=factor * sum(speed.p50_ms * speed.samples for speed in chosen) / samples,
        p90_s=factor * max(speed.p90_ms for speed in chosen),
        basis=Basis.MEASURED if is_same else Basis.SCALED,
        samples=samples,
        charged_share=sum(s.charged_share * s.samples for s in chosen) / samples,
    )


def together(expected: Iterable[Expectation], *, slots: int) -> Expectation:
    """How long many runs take on so many slots: never less than the longest of them.

    Runs are late independently of each other, so their deviations add up as squares.
    """
    runs = list(expected)
    middle = sum(run.p50_s for run in runs)
    spread = math.sqrt(sum((run.p90_s - run.p50_s) ** 2 for run in runs))
    longest, latest = max(run.p50_s for run in runs), max(run.p90_s for run in runs)
    weakest = max(runs, key=lambda run: list(Basis).index(run.basis))
    return Expectation(
        p50_s=max(middle / slots, longest),
        p90_s=max((middle + spread) / slots, latest),
        basis=weakest.basis,
        samples=min(run.samples for run in runs),
        charged_share=1.0,
    )


def _same_model(one: Kind, other: Kind) -> bool:
    return (one.engine, one.model, one.media) == (other.engine, other.model, other.media)


def _distance(one: Kind, other: Kind) -> tuple[bool, int, int, int, int]:
    """Also by sign, so that everything at the same distance is the same kind."""
    size, length = one.size_class - other.size_class, one.length_class - other.length_class
    return (one.variant != other.variant, abs(size), abs(length), size, length)
