"""What callers are told before a run: seconds of work, seconds of waiting, likely tokens."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.catalog.service import PreparedWork
from app.speeds.expectation import Expectation, Speed, expect, together
from app.speeds.kinds import Kind, sized
from app.speeds.models import MeasuredSpeed
from app.speeds.waiting import Situation, look, wait_s

TTL_S: Final = 5.0
# Of what was asked for before there were forecasts.
NO_FORECAST: Final[Mapping[str, Any]] = {
    "estimated_seconds": None,
    "estimated_seconds_p90": None,
    "queue_wait_seconds": None,
    "estimate_basis": None,
    "estimate_samples": 0,
}


@dataclass(frozen=True, slots=True)
class _Known:
    speeds: Mapping[tuple[str, str], Sequence[Speed]]  # by engine and model
    pace: Mapping[tuple[str, str], float]
    situation: Situation


class Outlook:
    """Keeps speeds and backlog for ``ttl_s`` seconds; shared by the threads of a process."""

    def __init__(
        self, *, ttl_s: float = TTL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None
        self._stale_at = 0.0

    def forecast(
        self, session: Session, *, tenant_id: str, works: Sequence[tuple[PreparedWork, str]]
    ) -> tuple[dict[str, Any], list[Expectation]]:
        """The public forecast of jobs that are sent together, and what is expected of each.

        ``works`` are prepared works with the class that they are to wait in. Times are seconds;
        ``queue_wait_seconds`` is null while no worker serves the first job's engine.
        """
        known = self._current(session)
        expected = [_expected(known, prepared) for prepared, _ in works]
        first, priority = works[0]
        slots = max(1, min(known.situation.slots_for(work.engine) for work, _ in works))
        whole = together(expected, slots=slots)
        waits = wait_s(
            known.situation,
            tenant_id=tenant_id,
            priority=priority,
            engine=first.engine,
            own_s=whole.p50_s,
            pace=known.pace,
        )
        return {
            "estimated_seconds": round(whole.p50_s, 3),
            "estimated_seconds_p90": round(whole.p90_s, 3),
            "queue_wait_seconds": None if waits is None else round(waits, 3),
            "estimate_basis": whole.basis.value,
            "estimate_samples": whole.samples,
        }, expected

    def _current(self, session: Session) -> _Known:
        known = self._known
        if known is not None and self._clock() < self._stale_at:
            return known
        session.connection()  # before the lock, see CardShelf.current
        with self._lock:
            if self._known is None or self._clock() >= self._stale_at:
                self._known = _read(session)
                self._stale_at = self._clock() + self._ttl_s
            return self._known


def _read(session: Session) -> _Known:
    speeds: dict[tuple[str, str], list[Speed]] = {}
    for row in session.scalars(select(MeasuredSpeed)):
        kind = Kind(row.engine, row.model, row.media, row.variant, row.size_class, row.length_class)
        speed = Speed(
            kind,
            row.device,
            row.samples,
            row.p50_ms,
            row.p90_ms,
            row.per_estimated,
            row.charged_share,
        )
        speeds.setdefault((row.engine, row.model), []).append(speed)
    pace = {
        key: sum(each.per_estimated * each.samples for each in same)
        / sum(each.samples for each in same)
        for key, same in speeds.items()
    }
    return _Known(speeds, pace, look(session))


def _expected(known: _Known, prepared: PreparedWork) -> Expectation:
    model = prepared.model.id
    what = sized(
        engine=prepared.engine,
        model=model,
        quantities=prepared.work.quantities,
        attributes=prepared.work.attributes,
    )
    speeds = known.speeds.get((prepared.engine, model), ())
    return expect(speeds, what, estimated_ms=prepared.estimated_ms)
