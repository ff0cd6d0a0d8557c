"""Grants by ones, by batches and by both: what was issued is what was granted, drawn in order.

A machine of Hypothesis gives to three wallets beside a model that keeps grants on paper. After
every step the sums of the issuing accounts are those of the grants (invariant 11), and each hold
draws from the grants that the model names, in its order (16). No key gives twice (17, 19).
"""

from collections import Counter
from dataclasses import dataclass
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

from billing import grant_batch
from billing.amounts import MicroTokens
from billing.errors import InsufficientTokensError
from billing.grant_batch import BatchRow, book_staged, booked_rows, stage
from billing.grants import GrantKind, expire_due, issue
from billing.holds import place
from billing.ledger import SOURCES
from billing.reconcile import check
from billing.wallets import balance, open_wallet
from tests.billing.till import LATER, NOW

MARKS = count()
KINDS = (GrantKind.QUOTA, GrantKind.BULK, GrantKind.GRANT)


@dataclass
class OnPaper:
    """A grant as a clerk would keep it."""

    id: int
    kind: GrantKind
    granted: int
    remaining: int
    priority: int
    expires_at: datetime | None

    def order(self) -> tuple[int, bool, datetime, int]:
        return (self.priority, self.expires_at is None, self.expires_at or NOW, self.id)


gifts = st.tuples(
    st.integers(0, 2),  # whose
    st.integers(0, 9),  # key
    st.integers(1, 50),  # amount
    st.sampled_from(KINDS),
    st.sampled_from([1, 50, 100]),  # priority
    st.sampled_from([None, -1, 1, 2, 5]),  # days until it expires
)


class Gifts(RuleBasedStateMachine):
    """Three wallets and their grants on paper."""

    engine: ClassVar[Engine]

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.engine)
        mark = next(MARKS)
        self.tenants = [f"gifts {mark} {number}" for number in range(3)]
        self.paper: dict[str, list[OnPaper]] = {tenant: [] for tenant in self.tenants}
        self.keys: dict[tuple[str, str], int] = {}
        self.batches: list[list[BatchRow]] = []
        self.now = NOW
        self.jobs = count()
        self.mark = mark
        for tenant in self.tenants:
            open_wallet(self.session, tenant)

    def teardown(self) -> None:
        with self.session:
            self.session.commit()
            assert check(self.session) == []

    @rule(wanted=st.lists(gifts, min_size=1, max_size=8, unique_by=lambda gift: gift[:2]))
    def give_to_many(self, wanted) -> None:
        batch = [
            BatchRow(
                seq=seq,
                tenant=self.tenants[whose],
                kind=kind,
                amount=MicroTokens(amount),
                idem_key=f"key {key}",
                priority=priority,
                effective_at=self.now - timedelta(days=9),
                expires_at=None if days is None else self.now + timedelta(days=days),
            )
            for seq, (whose, key, amount, kind, priority, days) in enumerate(wanted)
        ]
        fresh = [row for row in batch if (row.tenant, row.idem_key) not in self.keys]
        assert self._book(batch) == [row.seq for row in fresh]
        self.batches.append(batch)

    @rule(which=st.integers(0, 50))
    def give_the_same_again(self, which: int) -> None:
        if self.batches:
            assert self._book(self.batches[which % len(self.batches)]) == []

    def _book(self, batch: list[BatchRow]) -> list[int]:
        # a batch sweeps the wallets that it gives to
        before = {tenant: self._left(tenant) for tenant in self.tenants}
        stage(self.session, batch)
        booked = book_staged(self.session, actor="test", now=self.now)
        made = booked_rows(self.session)
        assert booked == len(made)
        for row in made:
            asked = batch[row.seq]
            assert row.before == before[row.tenant]
            assert row.after == row.before + asked.amount
            before[row.tenant] = row.after
            self._note(asked.tenant, row.grant, asked)
        return [row.seq for row in made]

    @rule(gift=gifts)
    def give_one(self, gift) -> None:
        whose, key, amount, kind, priority, days = gift
        tenant, name = self.tenants[whose], f"key {key}"
        if (tenant, name) in self.keys or (days is not None and days < 0):
            return
        end = None if days is None else self.now + timedelta(days=days)
        made = issue(
            self.session,
            tenant=tenant,
            amount=MicroTokens(amount),
            kind=kind,
            idem_key=name,
            actor="test",
            priority=priority,
            expires_at=end,
            now=self.now,
        )
        row = BatchRow(0, tenant, kind, MicroTokens(amount), name, priority, self.now, end)
        self._note(tenant, made.id, row)

    def _note(self, tenant: str, grant: int, row: BatchRow) -> None:
        self.keys[tenant, row.idem_key] = grant
        self.paper[tenant].append(
            OnPaper(grant, row.kind, row.amount, row.amount, row.priority, row.expires_at)
        )

    @rule(whose=st.integers(0, 2), amount=st.integers(1, 80))
    def draw(self, whose: int, amount: int) -> None:
        tenant, job = self.tenants[whose], f"job {self.mark} {next(self.jobs)}"
        expected, left = [], amount
        for grant in sorted(self._alive(tenant), key=OnPaper.order):
            take = min(left, grant.remaining)
            if take:
                expected.append((grant, take))
                left -= take
        arguments = {"tenant": tenant, "hold_id": f"hold {job}", "job": job, "now": self.now}
        if left:
            with pytest.raises(InsufficientTokensError):
                place(self.session, amount=MicroTokens(amount), expires_at=LATER, **arguments)
            return
        place(self.session, amount=MicroTokens(amount), expires_at=LATER, **arguments)
        pins = self.session.execute(
            text("SELECT token_grant, amount FROM billing.hold_grant WHERE hold = :h ORDER BY seq"),
            {"h": f"hold {job}"},
        ).all()
        assert [tuple(pin) for pin in pins] == [(grant.id, take) for grant, take in expected]
        for grant, take in expected:
            grant.remaining -= take

    @rule(days=st.integers(1, 3), swept=st.booleans())
    def time_passes(self, days: int, swept: bool) -> None:
        self.now += timedelta(days=days)
        if swept:
            expire_due(self.session, now=self.now)

    def _alive(self, tenant: str) -> list[OnPaper]:
        return [
            grant
            for grant in self.paper[tenant]
            if grant.expires_at is None or grant.expires_at > self.now
        ]

    def _left(self, tenant: str) -> int:
        return sum(grant.remaining for grant in self._alive(tenant))

    @invariant()
    def balances_are_those_on_paper(self) -> None:
        for tenant in self.tenants:
            found = balance(self.session, tenant, now=self.now)
            assert found.available == self._left(tenant)

    @invariant()
    def what_was_issued_is_what_was_granted(self) -> None:
        on_paper = Counter()
        for grant in (grant for grants in self.paper.values() for grant in grants):
            on_paper[SOURCES[grant.kind]] += grant.granted
        issued = self.session.execute(
            text(
                "SELECT t.debit, sum(t.amount) FROM billing.transfer t"
                " JOIN billing.wallet w ON w.id = t.wallet WHERE w.tenant = ANY(:tenants)"
                " AND t.credit = 'available' AND t.debit <> 'held' GROUP BY 1"
            ),
            {"tenants": self.tenants},
        )
        assert {account: int(amount) for account, amount in issued} == dict(on_paper)


def run(engine: Engine, *, examples: int, only_find: bool = False) -> None:
    machine = type("BoundGifts", (Gifts,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            database=None,
            derandomize=only_find,
            phases=[Phase.generate] if only_find else tuple(Phase),
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_any_order_of_gifts_and_draws_is_as_on_paper(engine: Engine) -> None:
    run(engine, examples=25)


# What a wrong batch would look like: a statement, a piece of it, and what stands there instead.
MUTANTS = {
    "a key gives twice": ("_CHOOSE", "AND NOT EXISTS", "AND true OR EXISTS"),
    "rows of one wallet do not see each other": (
        "_CHOOSE",
        "sum(s.amount) OVER walk)::bigint AS after",
        "s.amount)::bigint AS after",
    ),
    "a wallet with two rows gets one": ("_BOOK", "sum(amount) AS amount", "max(amount) AS amount"),
    "the priority is lost": (
        "_BOOK",
        "SELECT token_grant, wallet, kind, priority,",
        "SELECT token_grant, wallet, kind, 7,",
    ),
    "the source is another account": ("_BOOK", "THEN 'quota_issued'", "THEN 'refunds'"),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_wrong_batch_is_noticed(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, mutant: str
) -> None:
    name, right, wrong = MUTANTS[mutant]
    statements = getattr(grant_batch, name)
    together = isinstance(statements, tuple)
    sources = [str(each) for each in (statements if together else (statements,))]
    assert any(right in source for source in sources)
    changed = tuple(text(source.replace(right, wrong)) for source in sources)
    monkeypatch.setattr(grant_batch, name, changed if together else changed[0])
    with pytest.raises((AssertionError, DBAPIError, Flaky)):
        run(engine, examples=40, only_find=True)
