"""What a tenant may owe: billing mode, debt limit, payments.

A prepaid wallet holds what it has. A postpaid one also holds what its debt limit leaves: the rest
of a hold is lent (``debt -> held``), what is charged of it stays owed, what is not goes back. The
limit is a hard cap, kept by a CHECK of the database. What open holds have borrowed counts against
the limit and is not owed yet.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping, text, update
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MAX_TOKENS, MICRO, MicroTokens
from billing.errors import DebtError, InvalidAmountError, ReplayMismatchError
from billing.tables import wallet

PREPAID: Final = "prepaid"
POSTPAID: Final = "postpaid"


@dataclass(frozen=True, slots=True)
class Debt:
    """How a wallet may be overdrawn."""

    mode: str
    owed: MicroTokens  # charged and not paid
    reserved: MicroTokens  # borrowed by open holds
    limit: MicroTokens  # of both together


@dataclass(frozen=True, slots=True)
class Payment:
    """A payment of debt; ``created`` is False on a replay."""

    journal: int
    amount: MicroTokens
    created: bool


_DEBT = text(
    """
    SELECT w.id, w.mode, w.debt, w.debt_limit, w.credit_grant, coalesce(g.held, 0) AS reserved
      FROM billing.wallet w LEFT JOIN billing.token_grant g ON g.id = w.credit_grant
     WHERE w.id = :wallet
    """
)


def debt(session: Session, tenant: str) -> Debt:
    """What the tenant owes and may owe; locks the wallet.

    Raises:
        UnknownWalletError: nobody opened a wallet for the tenant.
    """
    return _debt(_row(session, ledger.locked_wallet(session, tenant)))


def set_terms(
    session: Session, *, tenant: str, mode: str, limit: MicroTokens, now: datetime
) -> Debt:
    """Put the tenant on a billing mode with a debt limit; it holds for the next hold.

    Raises:
        UnknownWalletError: nobody opened a wallet for the tenant.
        InvalidAmountError: the limit is negative or beyond what one amount may be.
        DebtError: code ``debt_above_limit``: more is owed or borrowed already.
    """
    if not 0 <= limit <= MAX_TOKENS * MICRO:
        raise InvalidAmountError(f"a debt limit is 0 to {MAX_TOKENS} tokens")
    wallet_id = ledger.locked_wallet(session, tenant)
    row = _row(session, wallet_id)
    if row["debt"] > limit or (mode == PREPAID and row["reserved"]):
        raise DebtError(
            "the wallet owes or has borrowed more than that; let the debt be paid first",
            code="debt_above_limit",
        )
    credit = row["credit_grant"]
    if mode == POSTPAID and credit is None:
        made = ledger.insert_grant(
            session,
            wallet=wallet_id,
            kind="credit",
            priority=ledger.CREDIT_PRIORITY,
            effective_at=now,
            granted=0,
            remaining=0,
        )
        credit = made["id"]
    session.execute(
        update(wallet)
        .where(wallet.c.id == wallet_id)
        .values(mode=mode, debt_limit=limit, credit_grant=credit, version=wallet.c.version + 1)
    )
    return _debt(_row(session, wallet_id))


def repay(
    session: Session,
    *,
    tenant: str,
    amount: MicroTokens,
    idem_key: str,
    actor: str,
    now: datetime,
) -> Payment:
    """Book a payment of what is owed, once per key: ``cash_clearing -> debt``.

    Raises:
        UnknownWalletError: nobody opened a wallet for the tenant.
        InvalidAmountError: the amount is not positive.
        DebtError: code ``payment_above_debt``: less than that is owed.
        ReplayMismatchError: the key was used before for something else.
    """
    if amount <= 0:
        raise InvalidAmountError("a payment must be more than 0 tokens")
    wallet_id = ledger.locked_wallet(session, tenant)
    fingerprint = f"repay:{amount}"
    known = ledger.known_entry(session, wallet_id, idem_key)
    if known is not None:
        if known["fingerprint"] != fingerprint:
            raise ReplayMismatchError(f"the key {idem_key!r} was used before; use a new key")
        return Payment(known["id"], amount, created=False)
    owed = _debt(_row(session, wallet_id)).owed
    if amount > owed:
        raise DebtError(
            f"only {owed / MICRO:g} tokens are owed; pay at most that, or grant the rest",
            code="payment_above_debt",
        )
    journal = ledger.book(
        session,
        wallet_id=wallet_id,
        idem_key=idem_key,
        fingerprint=fingerprint,
        kind="repay",
        ref=tenant,
        actor=actor,
        lines=[ledger.Line("cash_clearing", "debt", amount)],
        now=now,
    )
    return Payment(journal, amount, created=True)


def _row(session: Session, wallet_id: int) -> RowMapping:
    return session.execute(_DEBT, {"wallet": wallet_id}).mappings().one()


def _debt(row: RowMapping) -> Debt:
    return Debt(
        mode=row["mode"],
        owed=MicroTokens(row["debt"] - row["reserved"]),
        reserved=MicroTokens(row["reserved"]),
        limit=MicroTokens(row["debt_limit"]),
    )
