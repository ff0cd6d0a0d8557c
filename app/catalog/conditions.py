"""What a price of this moment depends on: the tenant's hour, and how busy the GPUs are.

Asked only where a rule wants to know, and remembered for a moment: a submit seldom waits for it.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime
from fractions import Fraction
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.multipliers import Circumstances, Rules

CONDITIONS_TTL_S: Final = 5.0
ZONES_MAX: Final = 10_000
# As long as the dispatcher counts a worker whose heartbeat is late.
HEARTBEAT_TIMEOUT_S: Final = 15.0

_ZONE = text("SELECT zone FROM tenant WHERE id = :tenant_id")
_LOAD = text(
    """
    SELECT coalesce(sum(w.capacity), 0)::integer AS capacity,
           coalesce(sum(least(w.capacity, (
               SELECT count(*) FROM job WHERE lease_owner = w.worker
                   AND status IN ('starting','processing','finalizing')) + (
               SELECT count(*) FROM segment WHERE lease_owner = w.worker AND status = 'running')
           )), 0)::integer AS busy
      FROM worker_heartbeat w
     WHERE w.seen_at > clock_timestamp() - make_interval(secs => :timeout_s)
    """
)


class Conditions:
    """Remembers zones and load for ``ttl_s`` seconds; shared by the threads of a process."""

    def __init__(
        self, *, ttl_s: float = CONDITIONS_TTL_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._zones: dict[str, tuple[float, ZoneInfo]] = {}
        self._load: tuple[float, Fraction | None] = (0.0, None)

    def now(
        self, session: Session, rules: Rules, *, tenant_id: str, batch_items: int, now: datetime
    ) -> Circumstances:
        """The circumstances that the rules ask for; the others stay unknown."""
        zone = self._zone(session, tenant_id) if rules.bands else None
        return Circumstances(
            local_time=None if zone is None else now.astimezone(zone).time(),
            zone="" if zone is None else zone.key,
            busy_share=self._busy_share(session) if rules.steps else None,
            batch_items=batch_items,
        )

    def _zone(self, session: Session, tenant_id: str) -> ZoneInfo:
        known = self._zones.get(tenant_id)
        if known is not None and self._clock() < known[0]:
            return known[1]
        zone = ZoneInfo(
            session.execute(_ZONE, {"tenant_id": tenant_id}).scalar_one_or_none() or "UTC"
        )
        with self._lock:
            if len(self._zones) >= ZONES_MAX:
                self._zones.clear()
            self._zones[tenant_id] = (self._clock() + self._ttl_s, zone)
        return zone

    def _busy_share(self, session: Session) -> Fraction | None:
        """Running jobs over slots of the workers that are alive; None without a worker."""
        if self._clock() < self._load[0]:
            return self._load[1]
        session.connection()  # before the lock, see CardShelf.current
        with self._lock:
            if self._clock() >= self._load[0]:
                row = session.execute(_LOAD, {"timeout_s": HEARTBEAT_TIMEOUT_S}).one()
                share = Fraction(row.busy, row.capacity) if row.capacity else None
                self._load = (self._clock() + self._ttl_s, share)
            return self._load[1]
