"""Take back what was booked wrongly: by reversal, never by change.

A correction needs the approval of a second person and names it in its journal. ``reverse`` swaps
the transfers of one recorded entry; ``rebuild`` sets the cached columns of a wallet to what its
transfers say; ``void`` gives back a hold whose job left nothing to settle. ``revoke`` takes back
what remains of a grant and is an ordinary action of an operator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens, to_number
from billing.errors import CorrectionError, InvalidAmountError, ReplayMismatchError
from billing.ledger import Line
from billing.tables import journal, token_grant, transfer

# A hold ends with its job, a settlement is refunded, and what has expired stays so.
REVERSIBLE: Final = frozenset({"grant", "refund", "revoke", "repay", "correction"})


@dataclass(frozen=True, slots=True)
class Correction:
    """What was booked; ``created`` is False on a replay."""

    journal: int
    wallet: int
    amount: MicroTokens  # the sum of what moved
    created: bool


_VOID = text("SELECT billing.void_hold(:job, :actor, :approval, :now)")
_VOIDED = text(
    "SELECT h.wallet, h.amount, j.id FROM billing.hold h JOIN billing.journal j"
    " ON j.wallet = h.wallet AND j.idem_key = 'void:' || h.job WHERE h.job = :job"
)
# Both follow the one definition of what a transfer means, ``billing.grant_moves``.
_REBUILD_GRANTS = text(
    """
    UPDATE billing.token_grant g
       SET granted = s.granted, remaining = s.remaining, held = s.held, spent = s.spent,
           expired = s.expired, revoked = s.revoked
      FROM (SELECT x.id, coalesce(sum(m.granted), 0) AS granted,
                   coalesce(sum(m.remaining), 0) AS remaining, coalesce(sum(m.held), 0) AS held,
                   coalesce(sum(m.spent), 0) AS spent, coalesce(sum(m.expired), 0) AS expired,
                   coalesce(sum(m.revoked), 0) AS revoked
              FROM billing.token_grant x
              LEFT JOIN billing.transfer t ON t.token_grant = x.id
              LEFT JOIN LATERAL billing.grant_moves(t.debit, t.credit, t.amount, x.id) m ON true
             WHERE x.wallet = :wallet GROUP BY x.id) s
     WHERE g.id = s.id
    """
)
_REBUILD_WALLET = text(
    """
    UPDATE billing.wallet w
       SET available = s.available, held = s.held, debt = s.debt,
           debt_limit = greatest(w.debt_limit, s.debt), version = w.version + 1
      FROM (SELECT coalesce(sum(t.amount * CASE 'available' WHEN t.credit THEN 1
                                     WHEN t.debit THEN -1 ELSE 0 END), 0) AS available,
                   coalesce(sum(t.amount * CASE 'held' WHEN t.credit THEN 1
                                     WHEN t.debit THEN -1 ELSE 0 END), 0) AS held,
                   coalesce(sum(t.amount * CASE 'debt' WHEN t.debit THEN 1
                                     WHEN t.credit THEN -1 ELSE 0 END), 0) AS debt
              FROM billing.transfer t WHERE t.wallet = :wallet) s
     WHERE w.id = :wallet
    """
)


def reverse(
    session: Session, *, journal_id: int, approval: str, actor: str, now: datetime
) -> Correction:
    """Take a recorded entry back, once, whatever was booked since.

    Raises:
        CorrectionError: ``entry_not_found``; ``not_reversible``: a hold, a settlement (refund
            it) or an expiry; ``already_reversed``; ``reversal_impossible``: what the entry gave
            is spent, held or expired.
    """
    found = session.execute(select(journal).where(journal.c.id == journal_id)).mappings()
    entry = found.one_or_none()
    if entry is None:
        raise CorrectionError(f"there is no entry {journal_id}", code="entry_not_found")
    if entry["kind"] not in REVERSIBLE:
        raise CorrectionError(
            f"an entry of kind {entry['kind']} is not reversed; refund a settlement,"
            " a hold ends with its job",
            code="not_reversible",
        )
    wallet_id = entry["wallet"]
    ledger.book_expiry(session, wallet_id=wallet_id, now=now)
    key = f"reverse:{journal_id}"
    if (known := ledger.known_entry(session, wallet_id, key)) is not None:
        if known["approval"] == approval:
            return Correction(known["id"], wallet_id, MicroTokens(0), created=False)
        raise CorrectionError(f"entry {journal_id} is reversed already", code="already_reversed")
    booked = session.execute(
        select(transfer).where(transfer.c.journal == journal_id).order_by(transfer.c.seq.desc())
    ).mappings()
    lines = [Line(row["credit"], row["debit"], row["amount"], row["token_grant"]) for row in booked]
    _refuse_expired(session, lines, now=now)
    try:
        with session.begin_nested():
            made = ledger.book(
                session,
                wallet_id=wallet_id,
                idem_key=key,
                fingerprint=str(journal_id),
                kind="correction",
                ref=str(journal_id),
                actor=actor,
                approval=approval,
                reverses=journal_id,
                lines=lines,
                now=now,
            )
    except IntegrityError as error:
        raise _impossible() from error
    amount = MicroTokens(sum(line.amount for line in lines))
    return Correction(made, wallet_id, amount, created=True)


def _refuse_expired(session: Session, lines: Sequence[Line], *, now: datetime) -> None:
    """Tokens never go back to a grant whose time is over."""
    given = [line.grant for line in lines if line.credit == "available"]
    over = select(token_grant.c.id).where(
        token_grant.c.id.in_(given), token_grant.c.expires_at <= now
    )
    if session.scalars(over).first() is not None:
        raise _impossible()


def _impossible() -> CorrectionError:
    detail = "what the entry moved is spent, held or expired since; refund or grant instead"
    return CorrectionError(detail, code="reversal_impossible")


def rebuild(
    session: Session, *, tenant: str, approval: str, actor: str, now: datetime
) -> Correction:
    """Set the columns of a wallet and its grants to what their transfers say, once per approval.

    Transfers are the truth and are not touched; the journal has none of its own.

    Raises:
        UnknownWalletError: the tenant has no wallet.
    """
    wallet_id = ledger.locked_wallet(session, tenant)
    key = f"rebuild:{approval}"
    if (known := ledger.known_entry(session, wallet_id, key)) is not None:
        return Correction(known["id"], wallet_id, MicroTokens(0), created=False)
    session.execute(_REBUILD_GRANTS, {"wallet": wallet_id})
    session.execute(_REBUILD_WALLET, {"wallet": wallet_id})
    made = ledger.book(
        session,
        wallet_id=wallet_id,
        idem_key=key,
        fingerprint="rebuild",
        kind="correction",
        ref=approval,
        actor=actor,
        approval=approval,
        lines=[],
        now=now,
    )
    return Correction(made, wallet_id, MicroTokens(0), created=True)


def void(session: Session, *, job: str, approval: str, actor: str, now: datetime) -> Correction:
    """Give back the hold of a job that left nothing to settle.

    Raises:
        CorrectionError: ``hold_not_open``.
    """
    values = {"job": job, "actor": actor, "approval": approval, "now": now}
    if not session.execute(_VOID, values).scalar_one():
        raise CorrectionError(f"{job} has no open hold", code="hold_not_open")
    row = session.execute(_VOIDED, {"job": job}).one()
    return Correction(row.id, row.wallet, row.amount, created=True)


def revoke(
    session: Session,
    *,
    grant_id: int,
    amount: MicroTokens | None,
    idem_key: str,
    actor: str,
    now: datetime,
) -> Correction:
    """Take back what remains of a grant, or a part of it, to where it came from; once per key.

    Raises:
        InvalidAmountError: the amount is not positive.
        CorrectionError: ``grant_not_found``, or ``revocation_exceeds_grant``: less remains.
        ReplayMismatchError: the key was used before for something else.
    """
    if amount is not None and amount <= 0:
        raise InvalidAmountError("a revocation must be more than 0 tokens")
    wallet_id = session.scalar(select(token_grant.c.wallet).where(token_grant.c.id == grant_id))
    if wallet_id is None:
        raise CorrectionError(f"there is no grant {grant_id}", code="grant_not_found")
    ledger.book_expiry(session, wallet_id=wallet_id, now=now)
    fingerprint = f"{grant_id}:{'all' if amount is None else amount}"
    key = f"revoke:{idem_key}"
    if (known := ledger.known_entry(session, wallet_id, key)) is not None:
        if known["fingerprint"] != fingerprint:
            raise ReplayMismatchError(f"the key {idem_key!r} was used before; use a new key")
        return Correction(known["id"], wallet_id, MicroTokens(0), created=False)
    row = session.execute(
        select(token_grant.c.kind, token_grant.c.remaining).where(token_grant.c.id == grant_id)
    ).one()
    wanted = row.remaining if amount is None else amount
    if wanted > row.remaining or wanted == 0:
        raise CorrectionError(
            f"{to_number(row.remaining)} tokens remain of grant {grant_id}; at most these can be"
            " taken back",
            code="revocation_exceeds_grant",
        )
    made = ledger.book(
        session,
        wallet_id=wallet_id,
        idem_key=key,
        fingerprint=fingerprint,
        kind="revoke",
        ref=str(grant_id),
        actor=actor,
        lines=[Line("available", ledger.SOURCES[row.kind], wanted, grant_id)],
        now=now,
    )
    return Correction(made, wallet_id, wanted, created=True)
