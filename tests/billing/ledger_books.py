"""What can happen to the books in any order, and what must hold after every step.

Hypothesis drives the real functions on a real PostgreSQL beside a clerk's model
(``ledger_model``). After every step the wallet, its grants and their order must be the model's;
now and then, and at the end, one statement checks every row of the books against the transfers,
and at the end a rebuild from the transfers must change nothing. Each example is one transaction
that is undone, so the tables stay small and nothing has to be cleaned up.
"""

from datetime import timedelta
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from billing.corrections import rebuild
from billing.grants import expire_due
from billing.reconcile import CHECKS, wrong_charges
from billing.wallets import balance, entries, open_wallet
from tests.billing.ledger_clerk import UNIT, Clerk
from tests.billing.ledger_model import ModelHold, ModelWallet

STEPS = 50
CHECK_EVERY = 12  # steps

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

which = st.integers(0, 9)
amounts = st.integers(1, 9)


class Books(RuleBasedStateMachine):
    """A prepaid and a postpaid wallet, and their models."""

    connection: ClassVar[Connection]

    def __init__(self) -> None:
        super().__init__()
        self.session = Session(self.connection)
        self.clerk = Clerk(self.session)
        self.wallets = self.clerk.wallets
        self.steps = 0

    @initialize()
    def open(self) -> None:
        for wallet in self.wallets:
            open_wallet(self.session, wallet.tenant)
        self.clerk.lend(self.wallets[1])
        self.clerk.give(self.wallets[0], 9, 100, None, "grant")
        self.clerk.give(self.wallets[0], 9, 100, 2, "purchase")

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
        self.clerk.give(self.wallets[number], amount, priority, days, kind)

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
        hold = self.clerk.hold(wallet, wanted, outcome, images)
        for step in range(steps if hold else 0):
            assert hold is not None
            self.clerk.end(wallet, hold, images) if step == 0 else self.clerk.settle(
                [(wallet, hold)]
            )

    @rule(chosen=which)
    def end(self, chosen: int) -> None:
        self._with([h for h in self.holds if not h[1].ended], chosen, self.clerk.end_one)

    @rule(folded=st.booleans())
    def settle(self, folded: bool) -> None:
        """Everything that ended, together or one by one."""
        due = [(w, h) for w, h in self.holds if h.ended and not h.settled]
        if folded:
            self.clerk.settle(due)
        else:
            for each in due:
                self.clerk.settle([each])

    @rule(chosen=which, spent=st.booleans())
    def lose(self, chosen: int, spent: bool) -> None:
        """A hold outlives its lease and is given back, and spent; its job may still end."""
        open_ones = [(w, h) for w in self.wallets for h in w.open_holds if not h.ended]
        self._with(open_ones, chosen, lambda wallet, hold: self.clerk.lose(wallet, hold, spent))

    @rule(number=st.integers(0, 1), amount=amounts, images=st.integers(0, 9), lost=st.booleans())
    def run_over(self, number: int, amount: int, images: int, lost: bool) -> None:
        """A job outlives the grant it draws from, or its own hold."""
        wallet = self.wallets[number]
        self.clerk.give(wallet, amount, 1, 1, "grant")
        hold = self.clerk.hold(wallet, amount * UNIT, "succeeded", images)
        assert hold is not None
        if lost:
            self.clerk.lose(wallet, hold, spent=True)
        else:
            self.clerk.now += timedelta(days=2)
        self.clerk.end(wallet, hold, images)
        self.clerk.settle([(wallet, hold)])

    @rule(chosen=which, part=st.integers(1, 12))
    def refund(self, chosen: int, part: int) -> None:
        charged = [(w, h) for w, h in self.holds if h.settled and h.charged]
        self._with(charged, chosen, lambda w, h: self.clerk.refund(w, h, part * UNIT))

    @rule(chosen=which, part=st.integers(1, 9))
    def revoke(self, chosen: int, part: int) -> None:
        grants = [(w, g) for w in self.wallets for g in w.grants]
        self._with(grants, chosen, lambda w, g: self.clerk.revoke(w, g, part * UNIT))

    @rule(part=st.integers(1, 9))
    def repay(self, part: int) -> None:
        self.clerk.repay(self.wallets[1], part * UNIT)

    @rule(number=st.integers(0, 1), chosen=which)
    def take_back(self, number: int, chosen: int) -> None:
        """Reverse a recorded entry, by its own transfers."""
        wallet = self.wallets[number]
        recorded = self.clerk.reversible(wallet)
        if recorded:
            self.clerk.reverse(wallet, recorded[chosen % len(recorded)])

    @rule(chosen=which)
    def hold_again(self, chosen: int) -> None:
        """A replay answers the same; another amount is refused."""
        self._with(self.holds, chosen, self.clerk.hold_again)

    @rule(days=st.integers(1, 3), swept=st.booleans())
    def time_passes(self, days: int, swept: bool) -> None:
        """Grants expire, whether the sweeper comes or not."""
        self.clerk.now += timedelta(days=days)
        if swept:
            expire_due(self.session, now=self.clerk.now)

    # -- what must hold --------------------------------------------------------------------------

    @invariant()
    def the_books_are_the_models(self) -> None:
        self.steps += 1
        for wallet in self.wallets:
            wallet.shed(self.clerk.now)
            found = balance(self.session, wallet.tenant, now=self.clerk.now)
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
                if not grant.is_over(self.clerk.now):  # the sweeper may not have come yet
                    assert shown[grant.id] == grant.columns
            rebuild(
                self.session,
                tenant=wallet.tenant,
                approval="apr_1",
                actor="test",
                now=self.clerk.now,
            )
            assert self.session.execute(STATE, {"tenant": wallet.tenant}).one() == before

    # -- choosing --------------------------------------------------------------------------------

    @property
    def holds(self) -> list[tuple[ModelWallet, ModelHold]]:
        return [(wallet, hold) for wallet in self.wallets for hold in wallet.holds]

    def _with(self, choices: list[tuple[Any, Any]], chosen: int, act: Any) -> None:
        if choices:
            act(*choices[-1 - chosen % len(choices)])


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
