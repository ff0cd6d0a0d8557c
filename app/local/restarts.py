"""When a dead process is started again: a pure rule over the times of its deaths."""

from collections.abc import Sequence
from dataclasses import dataclass

WINDOW_S = 60.0  # deaths older than this are forgiven
DELAYS_S = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
DEATHS_TO_REPORT = 5


@dataclass(frozen=True, slots=True)
class Restart:
    """What to do after a death."""

    delay_s: float
    failing: bool  # it dies again and again: tell somebody


def after_death(deaths: Sequence[float], *, now: float) -> Restart:
    """Decide when to start the process again; ``deaths`` and ``now`` share one monotonic clock.

    The first death is answered almost at once, every further one within a minute more slowly.
    The process is never given up: what was missing may come back.
    """
    recent = sum(1 for death in deaths if now - death <= WINDOW_S)
    delay_s = DELAYS_S[min(max(recent, 1), len(DELAYS_S)) - 1]
    return Restart(delay_s=delay_s, failing=recent >= DEATHS_TO_REPORT)
