"""How many event streams one process serves, and until when.

A stream takes a server thread for as long as somebody listens, so their number is capped, in all
and for each tenant; who gets no place is told to ask again or to poll. A stream also ends when
the server shuts down: the client comes back with the number of the last event it has.
"""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from app.errors import RateLimitedError, UnavailableError

STREAMS_MAX = 16  # of the threads of a worker process
PER_TENANT_MAX = 8
RETRY_AFTER_S = 5
OR_POLL = "close one, try again later, or ask GET /v1/jobs/{id} every few seconds instead"


def _for_ever() -> bool:
    return True


@dataclass(slots=True)
class StreamPlaces:
    """The places of one process, shared by its threads."""

    streams_max: int = STREAMS_MAX
    per_tenant_max: int = PER_TENANT_MAX
    is_serving: Callable[[], bool] = _for_ever  # the server says when it wants to end
    _taken: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, tenant_id: str) -> None:
        """Take a place; whoever took one gives it back.

        Raises:
            UnavailableError: ``overloaded``, none is left.
            RateLimitedError: ``too_many_streams``, the tenant has its share.
        """
        with self._lock:
            if self._taken.total() >= self.streams_max:
                detail = f"This server has {self.streams_max} event streams open: {OR_POLL}."
                raise UnavailableError(detail, code="overloaded", retry_after_s=RETRY_AFTER_S)
            if self._taken[tenant_id] >= self.per_tenant_max:
                detail = f"You have {self.per_tenant_max} event streams open: {OR_POLL}."
                raise RateLimitedError(detail, code="too_many_streams", retry_after_s=RETRY_AFTER_S)
            self._taken[tenant_id] += 1

    def give_back(self, tenant_id: str) -> None:
        """Free a place that was taken."""
        with self._lock:
            self._taken[tenant_id] -= 1
