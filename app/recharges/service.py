"""Who may recharge how much alone, and what one bad line does to the others.

Below the threshold a recharge is booked at once; above it, or when a person has booked enough
alone in the last day, it waits for a second one. Nothing here commits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import ConflictError, FieldError, InvalidRequestError, RateLimitedError
from app.grants.announcement import announce
from app.ids import new_id
from app.recharges.order import Order, WantedLine
from app.tenants.lookup import tenant_ids
from billing import approvals, recharges
from billing.amounts import MicroTokens, to_number
from billing.approvals import Approval
from billing.recharges import Recharge, RechargeLine, RechargeMode

APPROVAL_KIND: Final = "recharge"
# One recharge cannot be larger; sums of many stay far inside a BIGINT.
TOTAL_MAX: Final = MicroTokens(10**12 * 1_000_000)

# One person recharges one after the other: limits see what was booked just before.
_TURN = text("SELECT pg_advisory_xact_lock(hashtext('recharge'), hashtext(:maker))")


@dataclass(frozen=True, slots=True)
class RechargeLimits:
    """What one operator may do without another."""

    alone: MicroTokens  # the most that one recharge may come to without a second person
    alone_daily: MicroTokens  # the same for all of a person's recharges of 24 hours
    per_minute: int  # recharges of one person


@dataclass(frozen=True, slots=True)
class Preview:
    """What a recharge would be: every line with its tenant or its error."""

    lines: Sequence[RechargeLine]
    tokens: MicroTokens
    needs_approval: bool

    @property
    def failed(self) -> int:
        """How many lines would get nothing."""
        return sum(line.error is not None for line in self.lines)


def preview(
    session: Session, order: Order, *, maker: str, limits: RechargeLimits, now: datetime
) -> Preview:
    """Find every user and every error; writes nothing.

    Raises:
        InvalidRequestError: it is all or nothing and a line is bad, or the total is too large.
    """
    lines = _found(session, order.lines, now=now)
    total = MicroTokens(sum(line.amount or 0 for line in lines if line.error is None))
    if total > TOTAL_MAX:
        detail = f"A recharge comes to at most {to_number(TOTAL_MAX)} tokens in total. Split it."
        raise InvalidRequestError(detail, code="invalid_amount")
    if order.mode is RechargeMode.ATOMIC:
        _refuse_bad_lines(lines, source=order.source)
    _, spent = _made_lately(session, maker=maker, now=now)
    needs_approval = total > limits.alone or (total > 0 and spent + total > limits.alone_daily)
    return Preview(lines, total, needs_approval)


def place(
    session: Session,
    order: Order,
    *,
    maker: str,
    actor: str,
    limits: RechargeLimits,
    now: datetime,
) -> Recharge:
    """Book a recharge, or ask for a second person.

    Call ``take_turn`` first. Raises like ``preview``, and:
        RateLimitedError: the person recharged too often in the last minute.
    """
    lately, _ = _made_lately(session, maker=maker, now=now)
    if lately >= limits.per_minute:
        detail = f"{maker} made {lately} recharges within a minute. Wait a minute, then go on."
        raise RateLimitedError(detail, retry_after_s=60)
    found = preview(session, order, maker=maker, limits=limits, now=now)
    recharge_id = new_id("rch")
    approval_id = None
    if found.needs_approval:
        approval_id = _propose(session, order, recharge_id, found, maker=maker, now=now)
    recharges.record(
        session,
        recharge_id=recharge_id,
        source=order.source,
        mode=order.mode,
        operator=order.operator,
        reason=order.reason,
        maker=maker,
        content_sha256=order.content_sha256,
        lines=found.lines,
        approval_id=approval_id,
        now=now,
    )
    if approval_id is None:
        recharges.book(session, recharge_id=recharge_id, actor=actor, now=now)
        announce(session, at=now)
    return recharges.get(session, recharge_id)


def take_turn(session: Session, *, maker: str) -> None:
    """Wait until no other recharge of this person is under way."""
    session.execute(_TURN, {"maker": maker})


def known_file(session: Session, order: Order) -> Recharge | None:
    """The recharge that this file made before, with the same words; None for a new file.

    Raises:
        ConflictError: code ``file_already_sent``; it was sent with other words.
    """
    earlier = recharges.with_content(session, order.content_sha256)
    if earlier is None:
        return None
    found = recharges.get(session, earlier)
    if (found.operator, found.reason, found.mode) == (order.operator, order.reason, order.mode):
        return found
    raise already_sent(earlier)


def already_sent(recharge_id: str) -> ConflictError:
    """The refusal of a file that came before."""
    detail = (
        f"This file was sent before, as {recharge_id}. If it is meant to be booked once more, "
        "send it with repeat=true."
    )
    return ConflictError(detail, code="file_already_sent")


def book_approved(session: Session, approval: Approval) -> Mapping[str, Any]:
    """What an approval of the kind ``recharge`` does."""
    now = approval.decided_at or datetime.now(UTC)
    recharge_id = approval.payload["recharge"]
    booked = recharges.book(session, recharge_id=recharge_id, actor=approval.maker, now=now)
    announce(session, at=now)
    return {"booked": booked}


def _propose(
    session: Session,
    order: Order,
    recharge_id: str,
    found: Preview,
    *,
    maker: str,
    now: datetime,
) -> str:
    approval = approvals.propose(
        session,
        approval_id=new_id("apr"),
        kind=APPROVAL_KIND,
        subject=recharge_id,
        payload={
            "recharge": recharge_id,
            "users": len(found.lines) - found.failed,
            "tokens": to_number(found.tokens),
            "operator": order.operator,
            "reason": order.reason,
        },
        maker=maker,
        now=now,
    )
    return approval.id


def _made_lately(session: Session, *, maker: str, now: datetime) -> tuple[int, MicroTokens]:
    return recharges.made_lately(
        session,
        maker=maker,
        minute_ago=now - timedelta(minutes=1),
        day_ago=now - timedelta(days=1),
    )


def _found(session: Session, wanted: Sequence[WantedLine], *, now: datetime) -> list[RechargeLine]:
    ids = tenant_ids(session, list({line.named for line in wanted}))
    seen: set[str] = set()
    lines = []
    for line in wanted:
        found = _line(line, ids.get(line.named), seen, now=now)
        if found.tenant is not None:
            seen.add(found.tenant)
        lines.append(found)
    return lines


def _line(line: WantedLine, tenant: str | None, seen: set[str], *, now: datetime) -> RechargeLine:
    found = RechargeLine(
        row=line.row,
        named=line.named,
        tenant=tenant,
        amount=line.amount,
        expires_at=line.expires_at,
        error=line.error,
        detail=line.detail,
    )
    if tenant is None:
        detail = "unknown user: no tenant has this name or id"
        return replace(found, error="unknown_user", detail=detail)
    if tenant in seen:
        detail = "duplicate user: an earlier row is for the same tenant"
        return replace(found, error="duplicate_user", detail=detail)
    if line.error is None and line.expires_at is not None and line.expires_at <= now:
        return replace(found, error="invalid_expiry", detail="expires_at has passed already")
    return found


def _refuse_bad_lines(lines: Sequence[RechargeLine], *, source: str) -> None:
    bad = [line for line in lines if line.error is not None]
    if not bad:
        return
    places = [
        FieldError(
            f"/users/{line.row - 1}" if source == "json" else f"/file/{line.row}",
            f"{line.named}: {line.detail}",
            line.error or "",
        )
        for line in bad[:50]
    ]
    detail = (
        f"Row {bad[0].row}, {bad[0].named!r}: {bad[0].detail}. In mode atomic one bad row stops "
        f"all; {len(bad)} of {len(lines)} are bad. Nothing was booked."
    )
    raise InvalidRequestError(detail, code=bad[0].error, errors=places)
