"""What a clerk with paper would keep: grants one by one, holds with what they drew, debts.

Written from the rules alone, so that the ledger can be held against it. Amounts are micro-tokens.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class ModelGrant:
    """A grant and what became of it."""

    id: int
    kind: str
    priority: int
    expires_at: datetime | None
    granted: int
    remaining: int = 0
    held: int = 0
    spent: int = 0
    expired: int = 0
    revoked: int = 0

    @property
    def order(self) -> tuple[int, bool, datetime, int]:
        return (
            self.priority,
            self.expires_at is None,
            self.expires_at or NEVER,
            self.id,
        )

    def is_over(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now

    @property
    def columns(self) -> tuple[int, ...]:
        return (
            self.granted,
            self.remaining,
            self.held,
            self.spent,
            self.expired,
            self.revoked,
        )


@dataclass
class ModelHold:
    """A job's hold: what it drew from which grant, in order, and how the job will end."""

    job: str
    amount: int
    available_after: int
    outcome: str
    price: int  # of the measured work, if it is charged at all
    draws: list[tuple[ModelGrant, int]] = field(default_factory=list)
    ended: bool = False
    settled: bool = False
    given_back: bool = False
    captured: list[tuple[ModelGrant, int]] = field(default_factory=list)
    refunded: int = 0

    @property
    def charged(self) -> int:
        return sum(amount for _, amount in self.captured)


@dataclass
class ModelWallet:
    """One tenant's tokens."""

    tenant: str
    grants: list[ModelGrant] = field(default_factory=list)
    holds: list[ModelHold] = field(default_factory=list)
    credit: ModelGrant | None = None
    limit: int = 0
    paid: int = 0  # of the debt, so far

    @property
    def debt(self) -> int:
        """Owed and borrowed together: what was lent, less what came back or was paid."""
        if self.credit is None:
            return 0
        return self.credit.granted - self.credit.revoked - self.paid

    @property
    def owed(self) -> int:
        return self.debt - (self.credit.held if self.credit else 0)

    @property
    def open_holds(self) -> list[ModelHold]:
        return [hold for hold in self.holds if not (hold.settled or hold.given_back)]

    @property
    def held(self) -> int:
        return sum(hold.amount for hold in self.open_holds)

    def shed(self, now: datetime) -> None:
        for grant in self.grants:
            if grant.is_over(now):
                grant.expired += grant.remaining
                grant.remaining = 0

    @property
    def available(self) -> int:
        return sum(grant.remaining for grant in self.grants)

    def walk(self, amount: int) -> list[tuple[ModelGrant, int]]:
        """Who gives how much of ``amount``, in draw order."""
        parts = []
        for grant in sorted(self.grants, key=lambda each: each.order):
            take = min(grant.remaining, amount)
            amount -= take
            if take:
                parts.append((grant, take))
        return parts

    def hold(self, hold: ModelHold) -> None:
        own = min(hold.amount, self.available)
        hold.draws = self.walk(own)
        for grant, take in hold.draws:
            grant.remaining -= take
            grant.held += take
        if own < hold.amount:
            assert self.credit is not None
            lent = hold.amount - own
            self.credit.granted += lent
            self.credit.held += lent
            hold.draws.append((self.credit, lent))
        hold.available_after = self.available
        self.holds.append(hold)

    def settle(self, hold: ModelHold, now: datetime) -> None:
        if hold.given_back:
            hold.captured = self.walk(min(hold.price, hold.amount, self.available))
            for grant, take in hold.captured:
                grant.remaining -= take
                grant.spent += take
        else:
            left = min(hold.price, hold.amount)
            for grant, take in hold.draws:
                captured = min(take, left)
                left -= captured
                grant.spent += captured
                if captured:
                    hold.captured.append((grant, captured))
                self._back(grant, take, take - captured, now)
        hold.settled = True

    def give_back(self, hold: ModelHold, now: datetime) -> None:
        for grant, take in hold.draws:
            self._back(grant, take, take, now)
        hold.given_back = True

    def _back(self, grant: ModelGrant, held: int, rest: int, now: datetime) -> None:
        grant.held -= held
        if grant is self.credit:
            grant.revoked += rest
        elif grant.is_over(now):
            grant.expired += rest
        else:
            grant.remaining += rest

    def refund(self, hold: ModelHold, amount: int, now: datetime) -> list[ModelGrant]:
        """Take the last captured tokens back; returns the new grants, still without an id."""
        before, hold.refunded = hold.refunded, hold.refunded + amount
        made = []
        position = 0
        for grant, captured in reversed(hold.captured):
            first = max(before, position)
            last = min(hold.refunded, position + captured)
            position += captured
            part = last - first
            if part <= 0:
                continue
            if grant is self.credit:
                unpaid = min(self.owed, part)
                grant.spent -= unpaid
                grant.revoked += unpaid
                part -= unpaid
            elif not grant.is_over(now):
                grant.spent -= part
                grant.remaining += part
                part = 0
            if part:
                made.append(
                    ModelGrant(0, "refund", grant.priority, None, granted=part, remaining=part)
                )
        return made

    def undo(self, lines: list[list[Any]], now: datetime) -> bool:
        """Apply the lines the other way round, if nothing becomes negative by it."""
        by_id = {grant.id: grant for grant in self.grants}
        if self.credit is not None:
            by_id[self.credit.id] = self.credit
        names = {
            "available": "remaining",
            "held": "held",
            "revenue": "spent",
            "breakage": "expired",
        }
        kept = [(grant, vars(grant).copy()) for grant in by_id.values()]
        paid = self.paid
        for debit, credit, amount, grant_id in lines:
            if grant_id is None:
                # Only payments, and their corrections, name no grant.
                self.paid += amount if debit == "debt" else -amount
                continue
            grant = by_id[grant_id]
            came, went = names.get(credit, "granted"), names.get(debit, "revoked")
            setattr(grant, came, getattr(grant, came) + (amount if came == "granted" else -amount))
            setattr(grant, went, getattr(grant, went) + amount)
        fits = all(min(grant.columns) >= 0 for grant in by_id.values()) and not any(
            debit == "available" and by_id[grant_id].is_over(now) for debit, _, _, grant_id in lines
        )
        if fits and 0 <= self.debt <= self.limit:
            return True
        for grant, columns in kept:
            vars(grant).update(columns)
        self.paid = paid
        return False
