"""Short ways to give, hold, end and settle for the tests of money."""

from datetime import UTC, datetime, timedelta
from itertools import count

from sqlalchemy.orm import Session

from billing.amounts import MicroTokens, from_number
from billing.grants import Grant, issue
from billing.holds import Placed, place
from billing.rates import Work
from billing.usage import UsageRecord, accept

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = datetime(2126, 1, 1, tzinfo=UTC)  # when holds end that nobody closes


def detected(job: str, *, tenant: str, outcome: str, images: int, quoted: int) -> UsageRecord:
    """What a worker reports of a detection on the card ``flat@1``; ``quoted`` in micro-tokens."""
    return UsageRecord(
        job=job,
        tenant=tenant,
        attempt=1,
        outcome=outcome,
        engine="detect",
        model="builtin@1",
        device="cpu",
        work=Work({"images": images}, {"media": "image"}),
        gpu_us=10,
        wall_us=20,
        card_id="flat@1",
        quoted=MicroTokens(quoted),
    )


class Till:
    """Money in a test's hands: amounts are tokens, times are days after ``NOW``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._keys = count()

    def give(
        self, tokens: float, *, tenant: str = "t", priority: int = 100, days: float | None = None
    ) -> Grant:
        return issue(
            self.session,
            tenant=tenant,
            amount=from_number(tokens),
            kind="grant",
            idem_key=f"give:{next(self._keys)}",
            actor="test",
            priority=priority,
            expires_at=None if days is None else NOW + timedelta(days=days),
            now=NOW,
        )

    def hold(self, job: str, tokens: float, *, tenant: str = "t", now: datetime = NOW) -> Placed:
        return place(
            self.session,
            tenant=tenant,
            hold_id=f"hold_{job}",
            job=job,
            amount=from_number(tokens),
            expires_at=LATER,
            now=now,
        )

    def end(
        self,
        job: str,
        outcome: str = "succeeded",
        *,
        images: float = 1,
        quoted: float = 6,
        tenant: str = "t",
        card_id: str = "flat@1",
        **changes: object,
    ) -> bool:
        values: dict[str, object] = {
            "job": job,
            "tenant": tenant,
            "attempt": 1,
            "outcome": outcome,
            "engine": "detect",
            "model": "builtin@1",
            "device": "cpu",
            "work": Work({"images": images}, {"media": "image"}),
            "gpu_us": 1000,
            "wall_us": 2000,
            "card_id": card_id,
            "quoted": MicroTokens(int(quoted * 1_000_000)),
        }
        return accept(self.session, UsageRecord(**{**values, **changes}))
