"""Give back what was charged: at most that, to the grants it came from, or new ones.

A refund walks the charge backwards, so that the grants stand as if the job had cost less from the
start. A grant that has expired gets no tokens back: a new one of kind ``refund`` does. What was
charged on credit lowers the debt, or becomes a new grant when the debt is paid.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens, to_number
from billing.errors import InvalidAmountError, RefundError, ReplayMismatchError
from billing.ledger import Line
from billing.tables import charge, refund


@dataclass(frozen=True, slots=True)
class Refund:
    """Tokens given back; ``created`` is False on a replay."""

    job: str
    seq: int
    journal: int
    amount: MicroTokens
    refunded: MicroTokens  # of this job, up to and with this one
    charged: MicroTokens
    created: bool


_CAPTURED = text(
    """
    SELECT t.amount, g.id, g.kind, g.priority, coalesce(g.expires_at <= :now, false) AS expired
      FROM billing.journal j
      JOIN billing.transfer t ON t.journal = j.id AND t.credit = 'revenue'
      JOIN billing.token_grant g ON g.id = t.token_grant
     WHERE j.wallet = :wallet AND j.idem_key = 'settle:' || CAST(:job AS text)
     ORDER BY t.seq DESC
    """
)
_OWED = text(
    """
    SELECT w.debt - coalesce(g.held, 0)
      FROM billing.wallet w LEFT JOIN billing.token_grant g ON g.id = w.credit_grant
     WHERE w.id = :wallet
    """
)


def give_back(
    session: Session,
    *,
    job: str,
    amount: MicroTokens | None,
    idem_key: str,
    reason: str,
    actor: str,
    approval: str | None = None,
    now: datetime,
) -> Refund:
    """Refund a job's charge or a part of it, once per key; None refunds all that is left.

    Raises:
        InvalidAmountError: the amount is not positive.
        RefundError: ``charge_not_found``, or ``refund_exceeds_charge``: less is left of it.
        ReplayMismatchError: the key was used before for another amount.
    """
    if amount is not None and amount <= 0:
        raise InvalidAmountError("a refund must be more than 0 tokens")
    found = session.execute(select(charge).where(charge.c.job == job)).mappings().one_or_none()
    if found is None:
        raise RefundError(f"{job} was not charged; check the job's id", code="charge_not_found")
    wallet_id = found["wallet"]
    ledger.book_expiry(session, wallet_id=wallet_id, now=now)
    key = f"refund:{job}:{idem_key}"
    fingerprint = "all" if amount is None else str(amount)
    known = ledger.known_entry(session, wallet_id, key)
    if known is not None:
        return _replayed(session, known, fingerprint=fingerprint)
    done = session.execute(
        select(refund).where(refund.c.job == job).order_by(refund.c.seq.desc()).limit(1)
    )
    last = done.mappings().one_or_none()
    already = last["refunded_after"] if last else 0
    left = found["charged"] - already
    wanted = left if amount is None else amount
    if wanted > left or wanted == 0:
        raise RefundError(
            f"{to_number(found['charged'])} tokens were charged for {job} and"
            f" {to_number(already)} refunded; at most {to_number(left)} can be",
            code="refund_exceeds_charge",
        )
    captured = session.execute(_CAPTURED, {"wallet": wallet_id, "job": job, "now": now}).mappings()
    journal = ledger.book(
        session,
        wallet_id=wallet_id,
        idem_key=key,
        fingerprint=fingerprint,
        kind="refund",
        ref=job,
        actor=actor,
        approval=approval,
        lines=list(
            _lines(session, wallet_id, captured.all(), already=already, wanted=wanted, now=now)
        ),
        now=now,
    )
    row = {
        "job": job,
        "seq": (last["seq"] if last else 0) + 1,
        "wallet": wallet_id,
        "journal": journal,
        "amount": wanted,
        "refunded_after": already + wanted,
        "charged": found["charged"],
        "reason": reason,
        "actor": actor,
        "refunded_at": now,
    }
    session.execute(insert(refund).values(row))
    return _refund(row, created=True)


def pieces(
    captured: Sequence[tuple[int, int]], *, already: int, wanted: int
) -> list[tuple[int, int]]:
    """Which grants give how much: ``captured`` (grant, amount) in the order of refunding.

    Skips what earlier refunds took, then takes ``wanted``. Pure.
    """
    taken = []
    for grant, amount in captured:
        skipped = min(already, amount)
        already -= skipped
        take = min(wanted, amount - skipped)
        wanted -= take
        if take:
            taken.append((grant, take))
    return taken


def _lines(
    session: Session,
    wallet_id: int,
    captured: Sequence[RowMapping],
    *,
    already: int,
    wanted: int,
    now: datetime,
) -> Iterator[Line]:
    grants = {row["id"]: row for row in captured}
    owed = session.execute(_OWED, {"wallet": wallet_id}).scalar_one()
    parts = pieces([(row["id"], row["amount"]) for row in captured], already=already, wanted=wanted)
    for grant, amount in parts:
        row, rest = grants[grant], amount
        if row["kind"] == "credit":
            unpaid = min(owed, amount)
            owed -= unpaid
            rest -= unpaid
            if unpaid:
                yield Line("revenue", "debt", unpaid, grant)
        elif not row["expired"]:
            rest = 0
            yield Line("revenue", "available", amount, grant)
        if rest:
            yield Line("refunds", "available", rest, _instead(session, wallet_id, row, now))


def _instead(session: Session, wallet_id: int, row: RowMapping, now: datetime) -> int:
    """A new grant in place of one that cannot take tokens back; it does not expire."""
    made = ledger.insert_grant(
        session,
        wallet=wallet_id,
        kind="refund",
        priority=row["priority"],
        effective_at=now,
        granted=0,
        remaining=0,
    )
    grant_id: int = made["id"]
    return grant_id


def _replayed(session: Session, known: RowMapping, *, fingerprint: str) -> Refund:
    if known["fingerprint"] != fingerprint:
        raise ReplayMismatchError(
            "this key refunded another amount before; use a new key for a new refund"
        )
    row = session.execute(select(refund).where(refund.c.journal == known["id"])).mappings().one()
    return _refund(dict(row), created=False)


def _refund(row: Mapping[str, Any], *, created: bool) -> Refund:
    return Refund(
        job=row["job"],
        seq=row["seq"],
        journal=row["journal"],
        amount=row["amount"],
        refunded=row["refunded_after"],
        charged=row["charged"],
        created=created,
    )
