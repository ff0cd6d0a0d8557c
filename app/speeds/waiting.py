"""How long a new job waits before a worker takes it. Pure, and the query for what is ahead.

Dispatch is fair between tenants inside a class, so of every other tenant only as much goes first
as the asking tenant has waiting itself: their backlog beyond that does not delay it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.catalog.conditions import HEARTBEAT_TIMEOUT_S
from app.jobs.states import PRIORITY_LEVELS, Priority

# Of a job that runs half is left, on the average.
LEFT_OF_RUNNING: Final = 0.5

_BACKLOG = text(
    """
    SELECT tenant_id, priority, engine, model, status <> 'queued' AS is_running,
           sum(estimated_ms)::float8 / 1000 AS estimated_s
      FROM job WHERE status IN ('queued', 'starting', 'processing', 'finalizing')
     GROUP BY 1, 2, 3, 4, 5
    """
)
_SLOTS = text(
    """
    SELECT engines, sum(capacity)::integer AS slots FROM worker_heartbeat
     WHERE seen_at > clock_timestamp() - make_interval(secs => :timeout_s) GROUP BY engines
    """
)


@dataclass(frozen=True, slots=True)
class Load:
    """Work of one tenant, class, engine and model that waits or runs."""

    tenant_id: str
    priority: str
    engine: str
    model: str
    is_running: bool
    estimated_s: float  # the sum of the rough estimates


@dataclass(frozen=True, slots=True)
class Situation:
    """What waits and who works, at one moment."""

    loads: Sequence[Load]
    slots: Mapping[tuple[str, ...], int]  # by the engines that they serve

    def slots_for(self, engine: str) -> int:
        """Jobs of an engine that run at once."""
        return sum(slots for engines, slots in self.slots.items() if engine in engines)


def look(session: Session) -> Situation:
    """Read what waits and who works."""
    loads = [Load(**row) for row in session.execute(_BACKLOG).mappings()]
    rows: Any = session.execute(_SLOTS, {"timeout_s": HEARTBEAT_TIMEOUT_S})
    return Situation(loads, {tuple(row.engines): row.slots for row in rows})


def wait_s(
    situation: Situation,
    *,
    tenant_id: str,
    priority: str,
    engine: str,
    own_s: float,
    pace: Mapping[tuple[str, str], float],
) -> float | None:
    """Seconds until a worker is free for a new job; None where no worker serves its engine.

    ``own_s`` is how long the new job itself runs, ``pace`` how much longer jobs of an engine and
    model really take than their rough estimate.
    """
    slots = situation.slots_for(engine)
    if not slots:
        return None
    level = PRIORITY_LEVELS[Priority(priority)]
    ahead, waiting = 0.0, dict[str, float]()
    running = 0.0
    for load in situation.loads:
        seconds = load.estimated_s * pace.get((load.engine, load.model), 1.0)
        if load.is_running:
            running += seconds * LEFT_OF_RUNNING
        elif PRIORITY_LEVELS[Priority(load.priority)] < level:
            ahead += seconds
        elif load.priority == priority:
            waiting[load.tenant_id] = waiting.get(load.tenant_id, 0.0) + seconds
    own = waiting.pop(tenant_id, 0.0)
    ahead += own + sum(min(theirs, own + own_s) for theirs in waiting.values())
    is_idle = not ahead and sum(load.is_running for load in situation.loads) < slots
    return 0.0 if is_idle else (ahead + running) / slots
