"""A clerk who does everything twice: in the real ledger, and in the model of it.

Each act tells the ledger, checks its answer against the model's, and does it again, which must
change nothing. What the model does not allow must be refused.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.corrections import reverse, revoke
from billing.debts import repay, set_terms
from billing.errors import (
    CorrectionError,
    DebtError,
    InsufficientTokensError,
    RefundError,
    ReplayMismatchError,
)
from billing.grants import issue
from billing.holds import place
from billing.leases import give_back
from billing.refunds import give_back as refund
from billing.settlement import settle_many
from billing.usage import accept, unsettled
from tests.billing.ledger_model import ModelGrant, ModelHold, ModelWallet
from tests.billing.till import LATER, NOW, detected

UNIT = 1_000_000
LIMIT = 25 * UNIT

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


class Clerk:
    """Keeps a prepaid and a postpaid wallet."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.now = NOW
        self.wallets = [ModelWallet("prepaid"), ModelWallet("postpaid")]
        self._keys = 0
        self._reversed: set[int] = set()

    def lend(self, wallet: ModelWallet) -> None:
        set_terms(
            self.session,
            tenant=wallet.tenant,
            mode="postpaid",
            limit=MicroTokens(LIMIT),
            now=self.now,
        )
        wallet.limit = LIMIT
        wallet.credit = ModelGrant(self._newest(wallet), "credit", 2**31 - 1, None, 0)

    def give(
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

    def hold(self, wallet: ModelWallet, wanted: int, outcome: str, images: int) -> ModelHold | None:
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

    def hold_again(self, wallet: ModelWallet, hold: ModelHold) -> None:
        again = self._place(wallet, hold.job, hold.amount)
        assert (again.available, again.replayed) == (hold.available_after, True)
        with pytest.raises(ReplayMismatchError):
            self._place(wallet, hold.job, hold.amount + 1)

    def end_one(self, wallet: ModelWallet, hold: ModelHold) -> None:
        self.end(wallet, hold, hold.price // UNIT)

    def end(self, wallet: ModelWallet, hold: ModelHold, images: int) -> None:
        record = detected(
            hold.job,
            tenant=wallet.tenant,
            outcome=hold.outcome,
            images=images,
            quoted=hold.amount,
        )
        assert accept(self.session, record)
        assert not accept(self.session, record)
        hold.ended = True

    def settle(self, due: list[tuple[ModelWallet, ModelHold]]) -> None:
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

    def lose(self, wallet: ModelWallet, hold: ModelHold, spent: bool) -> None:
        assert give_back(self.session, job=hold.job, now=self.now)
        assert not give_back(self.session, job=hold.job, now=self.now)
        wallet.shed(self.now)
        wallet.give_back(hold, self.now)
        if spent and wallet.available:
            self.hold(wallet, wallet.available, "failed", 0)

    def refund(self, wallet: ModelWallet, hold: ModelHold, amount: int) -> None:
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

    def repay(self, wallet: ModelWallet, amount: int) -> None:
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

    def revoke(self, wallet: ModelWallet, grant: ModelGrant, amount: int) -> None:
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

    def reversible(self, wallet: ModelWallet) -> Sequence[Any]:
        """The recorded entries that can be reversed, with their transfers."""
        wallet.shed(self.now)
        return self.session.execute(REVERSIBLE, {"tenant": wallet.tenant}).all()

    def reverse(self, wallet: ModelWallet, entry: Any) -> None:
        approval = self._key()
        arguments = {
            "journal_id": entry.id,
            "approval": approval,
            "actor": "test",
            "now": self.now,
        }
        if entry.id in self._reversed:
            with pytest.raises(CorrectionError):
                reverse(self.session, **arguments)
            return
        if wallet.undo(entry.lines, self.now):
            self._reversed.add(entry.id)
            assert reverse(self.session, **arguments).created
            assert not reverse(self.session, **arguments).created
        else:
            with pytest.raises(CorrectionError):
                reverse(self.session, **arguments)

    def _newest(self, wallet: ModelWallet) -> int:
        values = {"tenant": wallet.tenant, "after": 0}
        return max(self.session.scalars(NEW_GRANTS, values))

    def _key(self) -> str:
        self._keys += 1
        return f"key:{self._keys}"
