"""A balance as it is shown, kept in Redis for a few seconds. It never decides anything.

Off unless ``PIXELMETER_BALANCE_CACHE_S`` is set. Who reads a balance from SQL, or has committed a
change of it, writes it with the wallet's version; a script in Redis refuses an older version over a
newer one, so writers may be late and in any order. A change that nobody writes here (a grant, an
expiry) is seen when the entry's time is over. Redis away, flushed or full of rubbish means that SQL
is asked, as without it; after a failure it is left alone for a while.
"""

import json
import logging
import time
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

import redis
from sqlalchemy.orm import Session

from billing.amounts import to_number
from billing.wallets import Balance, balance

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 0.1
REST_S: Final = 5.0  # after a failure
_KEY: Final = "pixelmeter:balance:"
_PUT: Final = """
local known = tonumber(redis.call('HGET', KEYS[1], 'version') or '-1')
if known and known > tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'view', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
"""


class BalanceCache:
    """Shown balances by tenant; safe to share between threads."""

    def __init__(
        self,
        redis_url: str | None,
        *,
        keep_s: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """With ``keep_s`` 0 or without Redis there is no cache, and nothing connects."""
        self._client: redis.Redis | None = None
        if redis_url is not None and keep_s > 0:
            self._client = redis.Redis.from_url(
                redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S
            )
        self._keep_ms = keep_s * 1000
        self._monotonic = monotonic
        self._rests_until = 0.0

    @property
    def enabled(self) -> bool:
        """Whether there is a cache at all."""
        return self._client is not None

    def shown(self, session: Session, tenant: str) -> dict[str, Any]:
        """The balance to show: a kept one, else that of SQL, which is then kept.

        Raises:
            UnknownWalletError: the tenant has no wallet.
        """
        kept = self._get(tenant)
        return self.refresh(session, tenant) if kept is None else kept

    def refresh(self, session: Session, tenant: str) -> dict[str, Any]:
        """Read the balance from SQL and keep it; call it after the commit of a change.

        Raises:
            UnknownWalletError: the tenant has no wallet.
        """
        found = balance(session, tenant)
        view = balance_view(found)
        self.put(tenant, version=found.version, view=view)
        return view

    def put(self, tenant: str, *, version: int, view: dict[str, Any]) -> None:
        """Keep a balance unless a newer one is kept already."""
        body = json.dumps(view)
        self._ask(lambda client: client.eval(_PUT, 1, _KEY + tenant, version, body, self._keep_ms))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()

    def _get(self, tenant: str) -> dict[str, Any] | None:
        body = self._ask(lambda client: client.hget(_KEY + tenant, "view"))
        try:
            view = None if body is None else json.loads(body)
        except ValueError:
            return None
        return view if isinstance(view, dict) else None

    def _ask(self, question: Callable[[redis.Redis], Any]) -> Any:  # noqa: ANN401 - Redis's answer
        """The answer, or None when there is no cache or it does not answer."""
        if self._client is None or self._monotonic() < self._rests_until:
            return None
        try:
            return question(self._client)
        except redis.RedisError as error:
            self._rests_until = self._monotonic() + REST_S
            log.warning("balances are read from SQL, Redis does not answer: %s", error)
            return None


def balance_view(found: Balance) -> dict[str, Any]:
    """A balance as JSON numbers of tokens."""
    return {
        "available": to_number(found.available),
        "held": to_number(found.held),
        "debt": to_number(found.debt),
        "grants": [
            {
                "id": str(grant.id),
                "kind": grant.kind,
                "remaining": to_number(grant.remaining),
                "expires_at": (
                    None
                    if grant.expires_at is None
                    else grant.expires_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
                ),
                "priority": grant.priority,
                "token_price": None if grant.token_price is None else str(grant.token_price),
            }
            for grant in found.grants
        ],
    }
