"""Which calls may be sent again, and when. Pure."""

from dataclasses import dataclass
from http import HTTPStatus

SAFE_METHODS = frozenset({"GET", "HEAD"})
RETRIED_STATUSES = frozenset(
    {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}
)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how patiently; delays double up to their maximum."""

    attempts: int = 4
    delay_s: float = 0.25
    delay_s_max: float = 4.0

    def delay_before(self, attempt: int, *, jitter: float) -> float:
        """Seconds to wait before attempt 2, 3, ...; ``jitter`` in 0..1 spreads callers apart."""
        doubled = self.delay_s * 2.0 ** (attempt - 2)
        return min(doubled, self.delay_s_max) * (0.5 + jitter / 2)


def may_repeat(method: str, *, idempotency_key: str | None) -> bool:
    """Whether sending the call twice has the effect of sending it once."""
    return method in SAFE_METHODS or idempotency_key is not None
