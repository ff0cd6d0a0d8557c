"""Which queued jobs go to the workers next. Pure.

Strict priority between classes, aged so that no class starves; inside a class tenants take turns
by virtual time: a tenant's clock advances by the estimated GPU seconds of each job it is given,
over its weight, and the smallest clock goes first. One tenant's hundred thousand jobs delay
another tenant's first by one job.
"""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from app.jobs.states import PRIORITY_LEVELS, Priority

# How long a job waits in its class before it counts as the next better one, in seconds.
AGE_LIMITS_S: Mapping[Priority, float] = {
    Priority.NORMAL: 60.0,
    Priority.BULK: 600.0,
    Priority.NIGHTLY: 6 * 3600.0,
}
_BETTER: Mapping[Priority, Priority] = {
    Priority.NORMAL: Priority.INTERACTIVE,
    Priority.BULK: Priority.NORMAL,
    Priority.NIGHTLY: Priority.BULK,
}


@dataclass(frozen=True, slots=True)
class Candidate:
    """A queued job, or a segment of a running one, that waits to be published."""

    job_id: str
    tenant_id: str
    engine: str
    priority: Priority
    attempt: int  # attempts so far
    waited_s: float  # by the database's clock
    estimated_ms: int
    max_runtime_s: int | None
    segment: int | None = None  # its number; None: the job itself


@dataclass(frozen=True, slots=True)
class TenantShare:
    """What the dispatcher knows about a tenant."""

    virtual_time: float  # seconds of GPU time over weight, so far
    weight: int = 1
    in_flight: int = 0  # published or running
    max_in_flight: int = 100


@dataclass(frozen=True, slots=True)
class Selection:
    """The verdict of one turn."""

    chosen: tuple[tuple[Candidate, Priority], ...]  # in order, with the effective class
    virtual_times: Mapping[str, float]  # of the tenants whose clock moved


def effective_priority(priority: Priority, waited_s: float) -> Priority:
    """The class after ageing: every limit that was waited out moves a job up by one class."""
    while (limit := AGE_LIMITS_S.get(priority)) is not None and waited_s > limit:
        waited_s -= limit
        priority = _BETTER[priority]
    return priority


def select(
    candidates: Iterable[Candidate],
    *,
    shares: Mapping[str, TenantShare],
    free_slots: Mapping[str, int],
) -> Selection:
    """Choose jobs for the free slots of each engine.

    Args:
        candidates: queued jobs that are not on the broker; inside one tenant and class the order
            given is kept.
        shares: every tenant among the candidates.
        free_slots: how many more messages each engine's queue may hold.
    """
    slots = dict(free_slots)
    in_flight = {tenant: share.in_flight for tenant, share in shares.items()}
    clocks = _Clocks(shares)
    chosen: list[tuple[Candidate, Priority]] = []
    for priority, waiting in _by_class(candidates):
        turns = _Turns(waiting, clocks)
        while (candidate := turns.next()) is not None:
            tenant = candidate.tenant_id
            if in_flight[tenant] >= shares[tenant].max_in_flight:
                turns.drop(tenant)
                continue
            if slots.get(candidate.engine, 0) <= 0:
                continue
            slots[candidate.engine] -= 1
            in_flight[tenant] += 1
            clocks.charge(candidate)
            chosen.append((candidate, priority))
    return Selection(tuple(chosen), clocks.moved)


def _by_class(
    candidates: Iterable[Candidate],
) -> Sequence[tuple[Priority, Mapping[str, deque[Candidate]]]]:
    classes: dict[Priority, dict[str, deque[Candidate]]] = {
        priority: {} for priority in sorted(PRIORITY_LEVELS, key=PRIORITY_LEVELS.__getitem__)
    }
    for candidate in candidates:
        tenants = classes[effective_priority(candidate.priority, candidate.waited_s)]
        tenants.setdefault(candidate.tenant_id, deque()).append(candidate)
    return list(classes.items())


class _Clocks:
    """The tenants' virtual times during one turn."""

    def __init__(self, shares: Mapping[str, TenantShare]) -> None:
        self._shares = shares
        busy = [share.virtual_time for share in shares.values() if share.in_flight > 0]
        # Who was idle does not save up its turns: it joins at the smallest clock of the busy ones.
        self._floor = min(busy, default=0.0)
        self.moved: dict[str, float] = {}

    def of(self, tenant: str) -> float:
        return self.moved.get(tenant, max(self._shares[tenant].virtual_time, self._floor))

    def charge(self, candidate: Candidate) -> None:
        share = self._shares[candidate.tenant_id]
        seconds = candidate.estimated_ms / 1000 / max(share.weight, 1)
        self.moved[candidate.tenant_id] = self.of(candidate.tenant_id) + seconds


class _Turns:
    """The tenants of one class in the order of their clocks."""

    def __init__(self, waiting: Mapping[str, deque[Candidate]], clocks: _Clocks) -> None:
        self._waiting = waiting
        self._clocks = clocks
        self._heap = [(clocks.of(tenant), tenant) for tenant in waiting]
        heapq.heapify(self._heap)

    def next(self) -> Candidate | None:
        """Take the next job of the tenant with the smallest clock."""
        while self._heap:
            seen, tenant = heapq.heappop(self._heap)
            if not self._waiting[tenant]:
                continue
            clock = self._clocks.of(tenant)
            if clock > seen:  # it was served since it was put here
                heapq.heappush(self._heap, (clock, tenant))
                continue
            candidate = self._waiting[tenant].popleft()
            heapq.heappush(self._heap, (clock, tenant))
            return candidate
        return None

    def drop(self, tenant: str) -> None:
        """Let a tenant that is at its limit wait for the next turn of the dispatcher."""
        self._waiting[tenant].clear()
