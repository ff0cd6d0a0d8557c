"""Any order of events keeps the books right: the 23 invariants of the ledger, and wrong ledgers.

Hypothesis drives the real functions on a real PostgreSQL beside a clerk's model
(``ledger_model``). After every step the wallet, its grants and their order must be the model's;
now and then, and at the end, one statement checks every row of the books against the transfers,
and at the end a rebuild from the transfers must change nothing. Each example is one transaction
that is undone, so the tables stay small and nothing has to be cleaned up.

PIXELMETER_FUZZ_EXAMPLES asks for more examples than the suite has time for (``make fuzz``).
"""

import os
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.cards import publish_catalogue
from billing.corrections import rebuild, reverse, revoke
from billing.debts import repay, set_terms
from billing.errors import (
    BillingError,
    CorrectionError,
    DebtError,
    InsufficientTokensError,
    RefundError,
    ReplayMismatchError,
)
from billing.grants import expire_due, issue
from billing.holds import place
from billing.leases import give_back
from billing.rates import Work
from billing.reconcile import CHECKS, wrong_charges
from billing.refunds import give_back as refund
from billing.settlement import settle_many
from billing.usage import UsageRecord, accept, unsettled
from billing.wallets import balance, entries, open_wallet
from tests.billing import mutants
from tests.billing.ledger_model import ModelGrant, ModelHold, ModelWallet
from tests.billing.till import LATER, NOW

UNIT = 1_000_000
EXAMPLES = int(os.environ.get("PIXELMETER_FUZZ_EXAMPLES", "300"))
STEPS = 50
CHECK_EVERY = 12  # steps
LIMIT = 25 * UNIT

# Every promise in one round trip; the books hold nothing but this example.
EVERY_CHECK = text(
    " UNION ALL ".join(
        f"SELECT '{code}' AS code, x.* FROM ({query}) x (subject, detail)"
        for code, query in CHECKS.items()
    )
)
STATE = text(
    """
    SELECT w.available, w.held, w.debt,
           (SELECT jsonb_agg(jsonb_build_array(g.id, g.granted, g.remaining, g.held, g.spent,
                                               g.expired, g.revoked) ORDER BY g.id)
              FROM billing.token_grant g WHERE g.wallet = w.id) AS grants
      FROM billing.wallet w WHERE w.tenant = :tenant
    """
)
PINS = text("SELECT token_grant, amount FROM billing.hold_grant WHERE hold = :hold ORDER BY seq")
NEW_GRANTS = text(
    "SELECT g.id FROM billing.token_grant g JOIN billing.wallet w ON w.id = g.wallet"
    " WHERE w.tenant = :tenant AND g.id > :after ORDER BY g.id"
)
REVERSIBLE = text(
    "SELECT j.id, j.kind, jsonb_agg(jsonb_build_array(t.debit, t.credit, t.amount, t.token_grant)"
    " ORDER BY t.seq) AS lines"
    " FROM billing.journal j JOIN billing.wallet w ON w.id = j.wallet"
    " JOIN billing.transfer t ON t.journal = j.id"
    " WHERE w.tenant = :tenant AND j.kind IN ('grant', 'refund', 'revoke', 'repay', 'correction')"
    " GROUP BY j.id, j.kind, j.wallet ORDER BY j.id"
)
SETTLE_AGAIN = text(
    "SELECT count(*) FROM billing.settle_holds(:jobs, CAST(:prices AS bigint[]), :now)"
    " WHERE outcome <> 'closed'"
)

which = st.integers(0, 9)
amounts = st.integers(1, 9)


class Books(RuleBasedStateMachine):
    """A prepaid and a postpaid wallet, and their models."""

    connection: ClassVar[Connection]

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.connection)
        self.now = NOW
        self.steps = 0
        self.keys = 0
        self.reversed: set[int] = set()
        self.wallets = [ModelWallet("prepaid"), ModelWallet("postpaid")]

    @initialize()
    def open(self) -> None:
        for wallet in self.wallets:
            open_wallet(self.session, wallet.tenant)
        self._lend(self.wallets[1])
        self._give(self.wallets[0], 9, 100, None, "grant")
        self._give(self.wallets[0], 9, 100, 2, "purchase")

    def teardown(self) -> None:
        try:
            if self.session.in_transaction() and self.connection.in_transaction():
                self.all_promises_are_kept()
                self.charges_recompute()
                self.a_rebuild_changes_nothing()
        finally:
            self.session.rollback()
            self.session.close()

    # -- what can happen -------------------------------------------------------------------------

    @rule(
        number=st.integers(0, 1),
        amount=st.integers(1, 30),
        priority=st.sampled_from([1, 100]),
        days=st.sampled_from([None, 1, 2, 5]),
        kind=st.sampled_from(["grant", "purchase", "goodwill"]),
    )
    def give(self, number: int, amount: int, priority: int, days: int | None, kind: str) -> None:
        self._give(self.wallets[number], amount, priority, days, kind)

    @rule(
        number=st.integers(0, 1),
        amount=amounts,
        outcome=st.sampled_from(["succeeded", "succeeded", "succeeded", "canceled", "failed"]),
        images=st.integers(0, 12),
        steps=st.integers(0, 2),
    )
    def spend(self, number: int, amount: int, outcome: str, images: int, steps: int) -> None:
        """Hold, and perhaps end and settle."""
        wallet, wanted = self.wallets[number], amount * UNIT
        hold = self._hold(wallet, wanted, outcome, images)
        for step in range(steps if hold else 0):
            assert hold is not None
            self._end(wallet, hold, images) if step == 0 else self._settle([(wallet, hold)])

    def _hold(
        self, wallet: ModelWallet, wanted: int, outcome: str, images: int
    ) -> ModelHold | None:
        job = f"job{len(self.wallets[0].holds) + len(self.wallets[1].holds)}-{wallet.tenant}"
        wallet.shed(self.now)
        spendable = wallet.available + (wallet.limit - wallet.debt if wallet.credit else 0)
        if wanted > spendable:
            with pytest.raises(InsufficientTokensError) as refused:
                self._place(wallet, job, wanted)
            assert (refused.value.needed, refused.value.available) == (wanted, spendable)
            return None
        charged = outcome in {"succeeded", "canceled"}
        hold = ModelHold(job, wanted, 0, outcome, images * UNIT if charged else 0)
        wallet.hold(hold)
        placed = self._place(wallet, job, wanted)
        assert (placed.available, placed.replayed) == (hold.available_after, False)
        pins = [tuple(row) for row in self.session.execute(PINS, {"hold": f"hold_{job}"})]
        assert pins == [(grant.id, take) for grant, take in hold.draws]
        return hold

    @rule(chosen=which)
    def end(self, chosen: int) -> None:
        self._with([h for h in self._holds() if not h[1].ended], chosen, self._end_one)

    @rule(folded=st.booleans())
    def settle(self, folded: bool) -> None:
        """Everything that ended, together or one by one."""
        due = [(w, h) for w, h in self._holds() if h.ended and not h.settled]
        if folded:
            self._settle(due)
        else:
            for each in due:
                self._settle([each])

    @rule(chosen=which, spent=st.booleans())
    def lose(self, chosen: int, spent: bool) -> None:
        """A hold outlives its lease and is given back, and spent; its job may still end."""
        open_ones = [(w, h) for w in self.wallets for h in w.open_holds if not h.ended]
        self._with(open_ones, chosen, lambda wallet, hold: self._lose(wallet, hold, spent))

    @rule(number=st.integers(0, 1), amount=amounts, images=st.integers(0, 9), lost=st.booleans())
    def run_over(self, number: int, amount: int, images: int, lost: bool) -> None:
        """A job outlives the grant it draws from, or its own hold."""
        wallet = self.wallets[number]
        self._give(wallet, amount, 1, 1, "grant")
        hold = self._hold(wallet, amount * UNIT, "succeeded", images)
        assert hold is not None
        if lost:
            self._lose(wallet, hold, spent=True)
        else:
            self.now += timedelta(days=2)
        self._end(wallet, hold, images)
        self._settle([(wallet, hold)])

    @rule(chosen=which, part=st.integers(1, 12))
    def refund(self, chosen: int, part: int) -> None:
        charged = [(w, h) for w, h in self._holds() if h.settled and h.charged]
        self._with(charged, chosen, lambda w, h: self._refund(w, h, part * UNIT))

    @rule(chosen=which, part=st.integers(1, 9))
    def revoke(self, chosen: int, part: int) -> None:
        grants = [(w, g) for w in self.wallets for g in w.grants]
        self._with(grants, chosen, lambda w, g: self._revoke(w, g, part * UNIT))

    @rule(part=st.integers(1, 9))
    def repay(self, part: int) -> None:
        wallet, amount = self.wallets[1], part * UNIT
        arguments = {
            "tenant": wallet.tenant,
            "amount": MicroTokens(amount),
            "idem_key": self._key(),
            "actor": "test",
            "now": self.now,
        }
        if amount > wallet.owed:
            with pytest.raises(DebtError):
                repay(self.session, **arguments)
            return
        assert repay(self.session, **arguments).created
        wallet.paid += amount
        assert not repay(self.session, **arguments).created

    @rule(number=st.integers(0, 1), chosen=which)
    def take_back(self, number: int, chosen: int) -> None:
        """Reverse a recorded entry, by its own transfers."""
        wallet = self.wallets[number]
        wallet.shed(self.now)
        rows = self.session.execute(REVERSIBLE, {"tenant": wallet.tenant}).all()
        if rows:
            self._reverse(wallet, rows[chosen % len(rows)])

    @rule(chosen=which)
    def hold_again(self, chosen: int) -> None:
        """A replay answers the same; another amount is refused."""
        self._with(self._holds(), chosen, self._hold_again)

    @rule(days=st.integers(1, 3), swept=st.booleans())
    def time_passes(self, days: int, swept: bool) -> None:
        """Grants expire, whether the sweeper comes or not."""
        self.now += timedelta(days=days)
        if swept:
            expire_due(self.session, now=self.now)

    # -- what must hold --------------------------------------------------------------------------

    @invariant()
    def the_books_are_the_models(self) -> None:
        self.steps += 1
        for wallet in self.wallets:
            wallet.shed(self.now)
            found = balance(self.session, wallet.tenant, now=self.now)
            assert (found.available, found.held, found.debt) == (
                wallet.available,
                wallet.held,
                wallet.owed,
            )
            assert [(grant.id, grant.remaining) for grant in found.grants] == [
                (grant.id, grant.remaining)
                for grant in sorted(wallet.grants, key=lambda each: each.order)
                if grant.remaining
            ]
        if self.steps % CHECK_EVERY == 0:
            self.all_promises_are_kept()

    def all_promises_are_kept(self) -> None:
        assert self.session.execute(EVERY_CHECK).all() == []
        for wallet in self.wallets:
            available = 0
            for line in reversed(entries(self.session, wallet.tenant, limit=1000)):
                available += line.amount
                assert line.balance_after == available

    def charges_recompute(self) -> None:
        assert list(wrong_charges(self.session)) == []

    def a_rebuild_changes_nothing(self) -> None:
        for wallet in self.wallets:
            before = self.session.execute(STATE, {"tenant": wallet.tenant}).one()
            shown = {row[0]: tuple(row[1:]) for row in before.grants or []}
            for grant in [*wallet.grants, *([wallet.credit] if wallet.credit else [])]:
                if not grant.is_over(self.now):  # the sweeper may not have come yet
                    assert shown[grant.id] == grant.columns
            rebuild(
                self.session, tenant=wallet.tenant, approval="apr_1", actor="test", now=self.now
            )
            assert self.session.execute(STATE, {"tenant": wallet.tenant}).one() == before

    # -- how ---------------------------------------------------------------------------------------

    def _key(self) -> str:
        self.keys += 1
        return f"key:{self.keys}"

    def _holds(self) -> list[tuple[ModelWallet, ModelHold]]:
        return [(wallet, hold) for wallet in self.wallets for hold in wallet.holds]

    def _with(self, choices: list[tuple[Any, Any]], chosen: int, act: Any) -> None:
        if choices:
            act(*choices[-1 - chosen % len(choices)])

    def _lend(self, wallet: ModelWallet) -> None:
        set_terms(
            self.session,
            tenant=wallet.tenant,
            mode="postpaid",
            limit=MicroTokens(LIMIT),
            now=self.now,
        )
        wallet.limit = LIMIT
        wallet.credit = ModelGrant(self._newest(wallet), "credit", 2**31 - 1, None, 0)

    def _newest(self, wallet: ModelWallet) -> int:
        values = {"tenant": wallet.tenant, "after": 0}
        return max(self.session.scalars(NEW_GRANTS, values))

    def _give(
        self, wallet: ModelWallet, amount: int, priority: int, days: int | None, kind: str
    ) -> None:
        expires_at = None if days is None else self.now + timedelta(days=days)
        arguments = {
            "tenant": wallet.tenant,
            "amount": MicroTokens(amount * UNIT),
            "kind": kind,
            "idem_key": self._key(),
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
        micro = amount * UNIT
        wallet.grants.append(
            ModelGrant(grant.id, kind, priority, expires_at, granted=micro, remaining=micro)
        )

    def _place(self, wallet: ModelWallet, job: str, amount: int) -> Any:
        return place(
            self.session,
            tenant=wallet.tenant,
            hold_id=f"hold_{job}",
            job=job,
            amount=MicroTokens(amount),
            expires_at=LATER,
            now=self.now,
        )

    def _hold_again(self, wallet: ModelWallet, hold: ModelHold) -> None:
        again = self._place(wallet, hold.job, hold.amount)
        assert (again.available, again.replayed) == (hold.available_after, True)
        with pytest.raises(ReplayMismatchError):
            self._place(wallet, hold.job, hold.amount + 1)

    def _end_one(self, wallet: ModelWallet, hold: ModelHold) -> None:
        self._end(wallet, hold, hold.price // UNIT)

    def _end(self, wallet: ModelWallet, hold: ModelHold, images: int) -> None:
        record = UsageRecord(
            job=hold.job,
            tenant=wallet.tenant,
            attempt=1,
            outcome=hold.outcome,
            engine="detect",
            model="builtin@1",
            device="cpu",
            work=Work({"images": images}, {"media": "image"}),
            gpu_us=10,
            wall_us=20,
            card_id="flat@1",
            quoted=MicroTokens(hold.amount),
        )
        assert accept(self.session, record)
        assert not accept(self.session, record)
        hold.ended = True

    def _settle(self, due: list[tuple[ModelWallet, ModelHold]]) -> None:
        jobs = [hold.job for _, hold in due]
        assert set(jobs) <= set(unsettled(self.session, limit=1000))
        # Wallets in the order of their ids, jobs in that of theirs: as one by one.
        due = sorted(due, key=lambda each: (self.wallets.index(each[0]), each[1].job))
        for wallet in self.wallets:
            wallet.shed(self.now)
        on_time = [each for each in due if not each[1].given_back]
        late = [each for each in due if each[1].given_back]
        available_after = {}
        for wallet, hold in [*on_time, *late]:
            wallet.settle(hold, self.now)
            available_after[hold.job] = wallet.available
        found = {each.job: each for each in settle_many(self.session, jobs=jobs, now=self.now)}
        assert sorted(found) == sorted(jobs)
        for _, hold in due:
            told = found[hold.job]
            assert told.charged == hold.charged <= hold.amount
            assert told.available_after == available_after[hold.job]
            assert told.charged + told.absorbed == hold.price
            assert told.charged + told.released == (
                hold.charged if hold.given_back else hold.amount
            )
        if jobs:
            assert settle_many(self.session, jobs=jobs, now=self.now) == []
            # Nor does a worker that had looked before the charges were there.
            values = {"jobs": jobs, "prices": [UNIT] * len(jobs), "now": self.now}
            assert self.session.scalar(SETTLE_AGAIN, values) == 0

    def _lose(self, wallet: ModelWallet, hold: ModelHold, spent: bool) -> None:
        assert give_back(self.session, job=hold.job, now=self.now)
        assert not give_back(self.session, job=hold.job, now=self.now)
        wallet.shed(self.now)
        wallet.give_back(hold, self.now)
        if spent and wallet.available:
            self._hold(wallet, wallet.available, "failed", 0)

    def _refund(self, wallet: ModelWallet, hold: ModelHold, amount: int) -> None:
        arguments = {
            "job": hold.job,
            "amount": MicroTokens(amount),
            "idem_key": self._key(),
            "reason": "",
            "actor": "test",
            "now": self.now,
        }
        wallet.shed(self.now)
        if amount > hold.charged - hold.refunded:
            with pytest.raises(RefundError):
                refund(self.session, **arguments)
            return
        newest = self._newest(wallet)
        given = refund(self.session, **arguments)
        made = wallet.refund(hold, amount, self.now)
        assert (given.amount, given.refunded, given.created) == (amount, hold.refunded, True)
        if made:
            values = {"tenant": wallet.tenant, "after": newest}
            for grant, grant_id in zip(made, self.session.scalars(NEW_GRANTS, values), strict=True):
                grant.id = grant_id
            wallet.grants += made
        assert not refund(self.session, **arguments).created

    def _revoke(self, wallet: ModelWallet, grant: ModelGrant, amount: int) -> None:
        arguments = {
            "grant_id": grant.id,
            "amount": MicroTokens(amount),
            "idem_key": self._key(),
            "actor": "test",
            "now": self.now,
        }
        wallet.shed(self.now)
        if amount > grant.remaining:
            with pytest.raises(CorrectionError):
                revoke(self.session, **arguments)
            return
        assert revoke(self.session, **arguments).amount == amount
        grant.remaining -= amount
        grant.revoked += amount
        assert not revoke(self.session, **arguments).created

    def _reverse(self, wallet: ModelWallet, entry: Any) -> None:
        approval = self._key()
        arguments = {
            "journal_id": entry.id,
            "approval": approval,
            "actor": "test",
            "now": self.now,
        }
        if entry.id in self.reversed:
            with pytest.raises(CorrectionError):
                reverse(self.session, **arguments)
            return
        if self._undo(wallet, entry.lines):
            self.reversed.add(entry.id)
            assert reverse(self.session, **arguments).created
            assert not reverse(self.session, **arguments).created
        else:
            with pytest.raises(CorrectionError):
                reverse(self.session, **arguments)

    def _undo(self, wallet: ModelWallet, lines: list[list[Any]]) -> bool:
        """Apply the lines the other way round, if nothing becomes negative by it."""
        by_id = {grant.id: grant for grant in wallet.grants}
        if wallet.credit is not None:
            by_id[wallet.credit.id] = wallet.credit
        names = {
            "available": "remaining",
            "held": "held",
            "revenue": "spent",
            "breakage": "expired",
        }
        kept = [(grant, vars(grant).copy()) for grant in by_id.values()]
        paid = wallet.paid
        for debit, credit, amount, grant_id in lines:
            if grant_id is None:
                # Only payments, and their corrections, name no grant.
                wallet.paid += amount if debit == "debt" else -amount
                continue
            grant = by_id[grant_id]
            came, went = names.get(credit, "granted"), names.get(debit, "revoked")
            setattr(grant, came, getattr(grant, came) + (amount if came == "granted" else -amount))
            setattr(grant, went, getattr(grant, went) + amount)
        fits = all(min(grant.columns) >= 0 for grant in by_id.values()) and not any(
            debit == "available" and by_id[grant_id].is_over(self.now)
            for debit, _, _, grant_id in lines
        )
        if fits and 0 <= wallet.debt <= wallet.limit:
            return True
        for grant, columns in kept:
            vars(grant).update(columns)
        wallet.paid = paid
        return False


def run(engine: Engine, *, examples: int, only_find: bool = False) -> None:
    """Run the machine; ``only_find`` takes the same examples each time and shrinks none."""
    with engine.connect() as connection:
        machine = type("BoundBooks", (Books,), {"connection": connection})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                report_multiple_bugs=not only_find,
                derandomize=only_find,
                phases=[Phase.generate] if only_find else tuple(Phase),
                suppress_health_check=list(HealthCheck),
            ),
        )


@pytest.fixture
def priced_engine(engine: Engine) -> Engine:
    """A database of its own with the shipped cards."""
    with Session(engine) as session, session.begin():
        publish_catalogue(session, NOW)
    return engine


@pytest.mark.timeout(0 if EXAMPLES > 300 else 900)
def test_any_order_of_events_keeps_the_books_right(priced_engine):
    run(priced_engine, examples=EXAMPLES)


@pytest.mark.parametrize("mutant", mutants.IN_ONE_SESSION)
def test_the_properties_notice_a_wrong_ledger(priced_engine, mutant):
    with (
        mutants.planted(priced_engine, mutants.IN_ONE_SESSION[mutant]),
        # Flaky: an example may fail otherwise when it is run again.
        pytest.raises((AssertionError, DBAPIError, BillingError, Flaky)),
    ):
        run(priced_engine, examples=40, only_find=True)
