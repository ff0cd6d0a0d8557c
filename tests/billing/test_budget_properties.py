"""Invariant 18: a window is what its holds reserve and were charged, whatever happens in between.

Caps come and go in the middle of windows, holds of several spenders are placed, settled and given
back, and time passes over a night of two midnights. A model that only adds up holds says which
hold must be refused and how full each cap is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
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
from billing.budgets import caps, end_cap, set_cap
from billing.caps import EACH, CapReachedError, Scope, SetBy
from billing.cards import publish_catalogue
from billing.grants import issue
from billing.holds import place
from billing.ledger import Spender
from billing.reconcile import check
from billing.settlement import settle
from billing.usage import accept
from billing.wallets import open_wallet
from billing.windows import Period, window_of
from tests.billing.till import LATER, detected

UNIT = 1_000_000
# Two hours before the night in which Havana has midnight twice, and at the end of a month.
START = datetime(2026, 11, 1, 2, tzinfo=UTC)
ZONES = ["America/Havana", "UTC", "Australia/Lord_Howe"]
SPENDERS = [
    Spender("prj_a", "key_1", "anna"),
    Spender("prj_a", "key_2", "bert"),
    Spender(None, "key_1", None),
]
SUBJECTS = [
    (Scope.TENANT, ""),
    (Scope.PROJECT, "prj_a"),
    (Scope.KEY, "key_1"),
    (Scope.KEY, EACH),
    (Scope.END_USER, "anna"),
    (Scope.END_USER, EACH),
]
NUMBERS = count()


@dataclass
class Spent:
    job: str
    at: datetime
    by: Spender
    amount: int
    settled: bool = False
    captured: int = 0


@dataclass
class Limit:
    id: int
    scope: Scope
    subject: str
    period: Period
    zone: str
    limit: int

    def of(self, by: Spender) -> str | None:
        """Whose window a hold of this spender falls into; None: nobody's."""
        own = {
            Scope.TENANT: "",
            Scope.PROJECT: by.project,
            Scope.KEY: by.api_key,
            Scope.END_USER: by.end_user,
        }[self.scope]
        return own if own is not None and self.subject in {own, EACH} else None


class Caps(RuleBasedStateMachine):
    """One wallet that is always full, its caps, and a model."""

    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.engine)
        self.tenant = f"capped{next(NUMBERS)}"
        self.now = START
        self.spent: list[Spent] = []
        self.limits: dict[tuple, Limit] = {}
        open_wallet(self.session, self.tenant)
        issue(
            self.session,
            tenant=self.tenant,
            amount=MicroTokens(10_000 * UNIT),
            kind="grant",
            idem_key="all",
            actor="test",
            now=self.now,
        )

    def teardown(self) -> None:
        with self.session:
            self.session.commit()
            assert check(self.session) == []

    def fill(self, limit: Limit, subject: str) -> tuple[int, int]:
        """What the holds of the present window say: used and reserved."""
        window = window_of(limit.period, limit.zone, self.now)
        here = [
            spent
            for spent in self.spent
            if limit.of(spent.by) == subject
            and window_of(limit.period, limit.zone, spent.at) == window
        ]
        return (
            sum(spent.captured for spent in here),
            sum(spent.amount for spent in here if not spent.settled),
        )

    @rule(
        which=st.sampled_from(SUBJECTS),
        period=st.sampled_from(list(Period)),
        zone=st.sampled_from(ZONES),
        tokens=st.integers(0, 25),
        set_by=st.sampled_from(list(SetBy)),
    )
    def set(self, which, period, zone, tokens, set_by) -> None:
        scope, subject = which
        cap, created = set_cap(
            self.session,
            tenant=self.tenant,
            set_by=set_by,
            scope=scope,
            subject=subject,
            period=period,
            zone=zone,
            limit=MicroTokens(tokens * UNIT),
            now=self.now,
        )
        key = (scope, subject, period, set_by)
        assert created == (key not in self.limits)
        if not created:
            assert cap.id == self.limits[key].id
            zone = self.limits[key].zone
        self.limits[key] = Limit(cap.id, scope, subject, period, zone, tokens * UNIT)

    @rule(which=st.integers(0, 9))
    def take_away(self, which: int) -> None:
        if self.limits:
            key = list(self.limits)[which % len(self.limits)]
            gone = self.limits.pop(key)
            assert end_cap(self.session, tenant=self.tenant, cap_id=gone.id, set_by=key[3])

    @rule(by=st.sampled_from(SPENDERS), tokens=st.integers(0, 9), minutes=st.integers(0, 90))
    def spend(self, by: Spender, tokens: int, minutes: int) -> None:
        self.now += timedelta(minutes=minutes)
        job, amount = f"capped-job{next(NUMBERS)}", tokens * UNIT
        reached = {
            limit.id
            for limit in self.limits.values()
            if (subject := limit.of(by)) is not None
            and amount
            and sum(self.fill(limit, subject)) + amount > limit.limit
        }
        refused = None
        try:
            place(
                self.session,
                tenant=self.tenant,
                hold_id=f"hold_{job}",
                job=job,
                amount=MicroTokens(amount),
                expires_at=LATER,
                now=self.now,
                spender=by,
            )
        except CapReachedError as error:
            refused = error.cap.id
        if refused is not None:
            assert refused in reached
            return
        assert not reached
        self.spent.append(Spent(job, self.now, by, amount))

    @rule(which=st.integers(0, 9), images=st.integers(0, 12))
    def end(self, which: int, images: int) -> None:
        running = [spent for spent in self.spent if not spent.settled]
        if not running:
            return
        spent = running[which % len(running)]
        accept(
            self.session,
            detected(
                spent.job,
                tenant=self.tenant,
                outcome="succeeded" if images else "failed",
                images=images,
                quoted=spent.amount,
            ),
        )
        settled = settle(self.session, job=spent.job, now=self.now)
        assert settled is not None
        spent.settled, spent.captured = True, min(images * UNIT, spent.amount)

    @invariant()
    def every_cap_is_as_full_as_its_holds_say(self) -> None:
        limits = {limit.id: limit for limit in self.limits.values()}
        found = caps(self.session, self.tenant, now=self.now)
        assert [cap.id for cap in found] == sorted(limits)
        for cap in found:
            limit = limits[cap.id]
            subjects = {limit.of(spent.by) for spent in self.spent} - {None}
            fills = [self.fill(limit, subject) for subject in subjects if subject is not None]
            assert cap.used + cap.reserved == max(map(sum, fills), default=0)
            if cap.subject != EACH:
                assert (cap.used, cap.reserved) == (fills[0] if fills else (0, 0))


def run(engine: Engine, *, examples: int, only_find: bool = False) -> None:
    """Run the machine; ``only_find`` takes the same examples each time and shrinks none."""
    machine = type("BoundCaps", (Caps,), {"engine": engine})
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
    with Session(engine) as session, session.begin():
        publish_catalogue(session, START)
    return engine


def test_any_order_of_events_keeps_windows_and_holds_together(priced_engine):
    run(priced_engine, examples=30)


# function, a piece of it, and what stands there instead
MUTANTS = {
    "reservations are not counted": (
        "reserve_budgets",
        "coalesce(u.used, 0) + coalesce(u.reserved, 0) + p_amount > c.amount",
        "coalesce(u.used, 0) + p_amount > c.amount",
    ),
    "a release goes to today's window": (
        "release_budgets",
        "u.window_start = p.window_start",
        "u.window_start >= p.window_start",
    ),
    "what was charged is forgotten": ("release_budgets", "u.used + NEW.captured", "u.used"),
    "windows are those of UTC": (
        "window_of",
        "p_at AT TIME ZONE p_zone",
        "p_at AT TIME ZONE 'UTC'",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_the_properties_notice_a_cap_that_counts_wrong(priced_engine, mutant):
    name, right, wrong = MUTANTS[mutant]
    with Session(priced_engine) as session, session.begin():
        query = text("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE proname = :n")
        source = session.scalar(query, {"n": name})
        assert source is not None
        assert right in source
        session.connection().exec_driver_sql(source.replace(right, wrong).replace("%", "%%"))
    # Flaky: what is booked stays booked, so the example may fail otherwise when it is run again.
    with pytest.raises((AssertionError, DBAPIError, Flaky)):
        run(priced_engine, examples=60, only_find=True)
