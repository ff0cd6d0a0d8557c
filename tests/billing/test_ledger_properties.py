"""Any order of grants, holds, settlements, replays and expiry keeps the books right.

Hypothesis drives the real functions on a real PostgreSQL beside a model of a few lines that walks
grants one by one. After every step the balance must be the model's, and the statement must add
up; at the end of every run reconciliation must find nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.cards import publish_catalogue
from billing.errors import InsufficientTokensError, ReplayMismatchError
from billing.grants import expire_due, issue
from billing.holds import place
from billing.rates import Work
from billing.reconcile import check
from billing.settlement import settle
from billing.usage import UsageRecord, accept, unsettled
from billing.wallets import balance, entries, open_wallet
from tests.billing.till import LATER, NOW

UNIT = 1_000_000
TENANTS = count()
JOBS = count()
amounts = st.integers(1, 9)


@dataclass
class ModelGrant:
    """A grant as a clerk would keep it."""

    id: int
    priority: int
    expires_at: datetime | None
    remaining: int

    def order(self) -> tuple[int, bool, datetime, int]:
        return (self.priority, self.expires_at is None, self.expires_at or NOW, self.id)

    def expired(self, now: datetime) -> bool:
        return self.expires_at is not None and self.expires_at <= now


@dataclass
class ModelHold:
    """A job's hold: what it drew from which grant, in order, and how the job will end."""

    job: str
    amount: int
    available_after: int
    outcome: str
    images: int
    cached: bool
    draws: list[tuple[ModelGrant, int]] = field(default_factory=list)
    ended: bool = False
    settled: bool = False

    @property
    def charged(self) -> int:
        free = self.cached or self.outcome in {"failed", "expired"}
        return 0 if free else min(self.images * UNIT, self.amount)


class Books(RuleBasedStateMachine):
    """One wallet and its model."""

    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.engine)
        self.tenant = f"tenant{next(TENANTS)}"
        self.now = NOW
        self.grants: list[ModelGrant] = []
        self.holds: list[ModelHold] = []
        open_wallet(self.session, self.tenant)
        self.give(amount=9, priority=100, days=None)
        self.give(amount=9, priority=100, days=2)

    def teardown(self) -> None:
        with self.session:
            self.session.commit()
            assert check(self.session) == []

    def spendable(self) -> int:
        return sum(grant.remaining for grant in self.grants if not grant.expired(self.now))

    @rule(
        amount=st.integers(1, 30),
        priority=st.sampled_from([1, 100]),
        days=st.sampled_from([None, 1, 2, 5]),
    )
    def give(self, amount: int, priority: int, days: int | None) -> None:
        expires_at = None if days is None else self.now + timedelta(days=days)
        arguments = {
            "tenant": self.tenant,
            "amount": MicroTokens(amount * UNIT),
            "kind": "grant",
            "idem_key": f"give:{len(self.grants)}",
            "actor": "test",
            "priority": priority,
            "expires_at": expires_at,
            "now": self.now,
        }
        grant = issue(self.session, **arguments)
        again = issue(self.session, **arguments)
        assert (again.id, again.created) == (grant.id, False)
        with pytest.raises(ReplayMismatchError):
            issue(self.session, **{**arguments, "amount": MicroTokens(1)})
        self.grants.append(ModelGrant(grant.id, priority, expires_at, amount * UNIT))

    @rule(
        amount=amounts,
        outcome=st.sampled_from(["succeeded", "succeeded", "canceled", "failed", "expired"]),
        images=st.integers(0, 15),
        cached=st.sampled_from([False, False, False, True]),
        pauses=st.lists(st.sampled_from([0, 0, 1, 3]), min_size=1, max_size=3),
    )
    def spend(
        self, amount: int, outcome: str, images: int, cached: bool, pauses: list[int]
    ) -> None:
        """Hold, and perhaps end and settle, with days before each."""
        self.now += timedelta(days=pauses[0])
        job = f"job{next(JOBS)}"
        wanted = amount * UNIT
        before = self.spendable()
        if wanted > before:
            with pytest.raises(InsufficientTokensError) as refused:
                self._place(job, wanted)
            assert (refused.value.needed, refused.value.available) == (wanted, before)
            return
        placed = self._place(job, wanted)
        assert (placed.available, placed.replayed) == (before - wanted, False)
        hold = ModelHold(job, wanted, placed.available, outcome, images, cached)
        for grant in sorted(self.grants, key=ModelGrant.order):
            take = 0 if grant.expired(self.now) else min(grant.remaining, wanted)
            if take:
                grant.remaining -= take
                wanted -= take
                hold.draws.append((grant, take))
        self.holds.append(hold)
        drawn = self.session.execute(
            text("SELECT token_grant, amount FROM billing.hold_grant WHERE hold = :h ORDER BY seq"),
            {"h": f"hold_{job}"},
        )
        assert [tuple(row) for row in drawn] == [(grant.id, take) for grant, take in hold.draws]
        for days in pauses[1:]:
            self.now += timedelta(days=days)
            self._step(hold)

    @rule(which=st.integers(0, 5))
    def move_on(self, which: int) -> None:
        """End or settle one of the jobs under way."""
        under_way = [hold for hold in self.holds if not hold.settled]
        if under_way:
            self._step(under_way[which % len(under_way)])

    @rule(which=st.integers(0, 5))
    def hold_again(self, which: int) -> None:
        """A replay answers the same; another amount is refused."""
        if self.holds:
            hold = self.holds[which % len(self.holds)]
            again = self._place(hold.job, hold.amount)
            assert (again.available, again.replayed) == (hold.available_after, True)
            with pytest.raises(ReplayMismatchError):
                self._place(hold.job, hold.amount + 1)

    @rule(days=st.integers(1, 5), swept=st.booleans())
    def time_passes(self, days: int, swept: bool) -> None:
        """Grants expire, whether the sweeper comes or not."""
        self.now += timedelta(days=days)
        if swept:
            expire_due(self.session, now=self.now)

    @invariant()
    def the_balance_is_the_models(self) -> None:
        found = balance(self.session, self.tenant, now=self.now)
        held = sum(hold.amount for hold in self.holds if not hold.settled)
        assert (found.available, found.held, found.debt) == (self.spendable(), held, 0)
        assert [(grant.id, grant.remaining) for grant in found.grants] == [
            (grant.id, grant.remaining)
            for grant in sorted(self.grants, key=ModelGrant.order)
            if grant.remaining and not grant.expired(self.now)
        ]

    @invariant()
    def the_statement_adds_up(self) -> None:
        available = 0
        for line in reversed(entries(self.session, self.tenant, limit=1000)):
            available += line.amount
            assert line.balance_after == available

    def _step(self, hold: ModelHold) -> None:
        if hold.ended:
            self._settle(hold)
        else:
            self._end(hold)

    def _end(self, hold: ModelHold) -> None:
        record = UsageRecord(
            job=hold.job,
            tenant=self.tenant,
            attempt=1,
            outcome=hold.outcome,
            engine="detect",
            model="builtin@1",
            device="cpu",
            work=Work({"images": hold.images}, {"media": "image"}),
            gpu_us=10,
            wall_us=20,
            card_id="flat@1",
            quoted=MicroTokens(hold.amount),
            cached=hold.cached,
        )
        assert accept(self.session, record)
        assert not accept(self.session, record)
        assert hold.job in unsettled(self.session, limit=1000)
        hold.ended = True

    def _settle(self, hold: ModelHold) -> None:
        settled = settle(self.session, job=hold.job, now=self.now)
        assert settled is not None
        assert (settled.charged, settled.released) == (hold.charged, hold.amount - hold.charged)
        left = hold.charged
        for grant, take in hold.draws:
            captured = min(take, left)
            left -= captured
            grant.remaining += take - captured
        hold.settled = True
        assert settled.available_after == self.spendable()
        assert settle(self.session, job=hold.job, now=self.now) is None
        # Nor does a worker that had looked before the charge was there.
        again = text("SELECT outcome FROM billing.settle_holds(:jobs, '{0}', :now)")
        assert self.session.scalar(again, {"jobs": [hold.job], "now": self.now}) == "closed"

    def _place(self, job: str, amount: int):
        return place(
            self.session,
            tenant=self.tenant,
            hold_id=f"hold_{job}",
            job=job,
            amount=MicroTokens(amount),
            expires_at=LATER,
            now=self.now,
        )


def run(engine: Engine, *, examples: int, only_find: bool = False) -> None:
    """Run the machine; ``only_find`` takes the same examples each time and shrinks none."""
    machine = type("BoundBooks", (Books,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=only_find,
            phases=[Phase.generate] if only_find else tuple(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def priced_engine(engine: Engine) -> Engine:
    """A database of its own with the shipped cards: the machine commits."""
    with Session(engine) as session, session.begin():
        publish_catalogue(session, NOW)
    return engine


def test_any_order_of_events_keeps_the_books_right(priced_engine):
    run(priced_engine, examples=30)


# What a wrong ledger would look like: function, a piece of it, and what stands there instead.
MUTANTS = {
    "more is captured than was held": (
        "settle_hold",
        "v_taken := least(p_price, v_hold.amount)",
        "v_taken := p_price",
    ),
    "more is given back than is left": (
        "settle_hold",
        "remaining = g.remaining + s.returned",
        "remaining = g.remaining + s.amount",
    ),
    "a closed hold settles again": ("settle_hold", "v_hold.state <> 'open'", "false"),
    "expired tokens come back to life": (
        "settle_hold",
        "coalesce(g.expires_at <= v_at, false)",
        "false",
    ),
    "an expired grant is still spendable": (
        "place_hold",
        "v_at := coalesce(p_now, clock_timestamp())",
        "v_at := '2000-01-01'",
    ),
    "the youngest grant is drawn first": (
        "place_hold",
        "g.expires_at NULLS LAST, g.id",
        "g.expires_at NULLS LAST, g.id DESC",
    ),
    "expired tokens move without a transfer": (
        "shed_expired",
        "VALUES (v_journal, 1, p_wallet, 'available', 'breakage', old.remaining, old.id)",
        "SELECT 0, 0, 0, '', '', 0, 0 WHERE false",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_properties_notice_a_wrong_ledger(priced_engine, mutant):
    name, right, wrong = MUTANTS[mutant]
    with Session(priced_engine) as session, session.begin():
        source = session.scalar(
            text("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = :n"), {"n": name}
        )
        assert source is not None
        assert right in source
        session.connection().exec_driver_sql(source.replace(right, wrong).replace("%", "%%"))
    # Flaky: what is booked stays booked, so the example may fail otherwise when it is run again.
    with pytest.raises((AssertionError, DBAPIError, ReplayMismatchError, Flaky)):
        run(priced_engine, examples=40, only_find=True)
