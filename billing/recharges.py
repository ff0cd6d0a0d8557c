"""Bulk recharges: who gave whom how much and why, booked once, with the balances around it.

The only writer of ``recharge`` and ``recharge_row``. Rows come here with their tenants found and
their errors named; this module does not know who may recharge, nor when a second person is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from sqlalchemy import RowMapping, insert, select, text, update
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.errors import RechargeBookedError, RechargeRefusedError, UnknownRechargeError
from billing.grant_batch import book_staged, driver_connection, open_stage
from billing.grant_tables import recharge
from billing.grants import GrantKind
from billing.tables import approval

PRIORITY: Final = 100


class RechargeMode(StrEnum):
    """What one bad row does to the others."""

    ATOMIC = "atomic"  # all or nothing
    PARTIAL = "partial"  # good rows are booked, bad ones come back


class RechargeStatus(StrEnum):
    """Where a recharge stands; it follows from its booking and its approval."""

    COMPLETED = "completed"
    PENDING = "pending_approval"
    REJECTED = "rejected"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class RechargeLine:
    """One user's part. A line has an error, or a tenant and an amount."""

    row: int  # from 1, as the caller counts
    named: str  # as the caller wrote it
    tenant: str | None = None
    amount: MicroTokens | None = None
    expires_at: datetime | None = None
    error: str | None = None  # code
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class LoggedLine(RechargeLine):
    """A line of the log; the balances stand once it is booked."""

    token_grant: int | None = None
    balance_before: MicroTokens | None = None
    balance_after: MicroTokens | None = None


@dataclass(frozen=True, slots=True)
class Recharge:
    """One request to give tokens to many. ``operator`` is a label, ``maker`` is the person."""

    id: str
    source: str  # json | csv | estimate
    mode: RechargeMode
    operator: str
    reason: str
    maker: str
    content_sha256: str
    rows: int
    refused: int  # rows that had an error from the start
    tokens: MicroTokens  # of the others
    approval: str | None
    created_at: datetime
    booked_at: datetime | None
    booked: int | None
    status: RechargeStatus

    @property
    def failed(self) -> int:
        """How many rows got nothing, as far as is known now."""
        return self.refused if self.booked is None else self.rows - self.booked


_INSERT_LINES: Final = (
    "COPY billing.recharge_row (recharge, row, named, tenant, amount, expires_at, error, detail)"
    " FROM STDIN"
)
# Lines whose time is over are left where they are.
_STAGE: Final = text(
    """
    INSERT INTO pg_temp.staged_grant
    SELECT row, tenant, :kind, amount, 'bulk:' || recharge || ':' || row, :priority, :now,
           expires_at
      FROM billing.recharge_row
     WHERE recharge = :id AND error IS NULL AND (expires_at IS NULL OR expires_at > :now)
    """
)
_LEFT_OUT: Final = text(
    """
    SELECT r.named FROM billing.recharge_row r
     WHERE r.recharge = :id AND r.error IS NULL
       AND NOT EXISTS (SELECT FROM pg_temp.booked_grant b WHERE b.seq = r.row)
     ORDER BY r.row LIMIT 1
    """
)
# The balances are those of the journal that booked the line.
_LINES: Final = text(
    """
    SELECT r.row, r.named, r.tenant, r.amount, r.expires_at,
           CASE WHEN r.error IS NULL AND c.booked_at IS NOT NULL AND j.id IS NULL
                THEN 'not_booked' ELSE r.error END AS error,
           CASE WHEN r.error IS NULL AND c.booked_at IS NOT NULL AND j.id IS NULL
                THEN 'its time was over, or its wallet cannot take so much' ELSE r.detail
           END AS detail,
           CAST(j.ref AS bigint) AS token_grant,
           j.available_after - r.amount AS balance_before, j.available_after AS balance_after
      FROM billing.recharge c
      JOIN billing.recharge_row r ON r.recharge = c.id
      LEFT JOIN billing.wallet w ON w.tenant = r.tenant AND r.error IS NULL
      LEFT JOIN billing.journal j
             ON j.wallet = w.id AND j.idem_key = 'bulk:' || r.recharge || ':' || r.row
     WHERE c.id = :id AND r.row > :after
       AND (NOT :failed_only OR r.error IS NOT NULL
            OR (c.booked_at IS NOT NULL AND j.id IS NULL))
     ORDER BY r.row LIMIT :limit
    """
)
_SELECTED: Final = select(recharge, approval.c.state.label("approval_state")).outerjoin(
    approval, approval.c.id == recharge.c.approval
)
_SPENT = text(
    """
    SELECT count(*) FILTER (WHERE created_at > :minute_ago) AS lately,
           coalesce(sum(tokens) FILTER (WHERE approval IS NULL), 0)::bigint AS tokens
      FROM billing.recharge WHERE maker = :maker AND created_at > :day_ago
    """
)


def record(
    session: Session,
    *,
    recharge_id: str,
    source: str,
    mode: RechargeMode,
    operator: str,
    reason: str,
    maker: str,
    content_sha256: str,
    lines: Sequence[RechargeLine],
    approval_id: str | None = None,
    now: datetime,
) -> None:
    """Write down what is asked, line by line; nothing is booked yet."""
    total = sum(line.amount or 0 for line in lines if line.error is None)
    session.execute(
        insert(recharge).values(
            id=recharge_id,
            source=source,
            mode=mode.value,
            operator=operator,
            reason=reason,
            maker=maker,
            content_sha256=content_sha256,
            rows=len(lines),
            refused=sum(line.error is not None for line in lines),
            tokens=total,
            approval=approval_id,
            created_at=now,
        )
    )
    with driver_connection(session).cursor() as cursor, cursor.copy(_INSERT_LINES) as copy:
        for line in lines:
            copy.write_row(
                (
                    recharge_id,
                    line.row,
                    line.named,
                    line.tenant,
                    line.amount,
                    line.expires_at,
                    line.error,
                    line.detail,
                )
            )


def book(session: Session, *, recharge_id: str, actor: str, now: datetime) -> int:
    """Book every good line, once; returns how many that were.

    Raises:
        UnknownRechargeError: there is none with this id.
        RechargeBookedError: it was booked before.
        RechargeRefusedError: it is atomic and a line cannot be booked any more.
    """
    found = session.execute(
        select(recharge).where(recharge.c.id == recharge_id).with_for_update()
    ).one_or_none()
    if found is None:
        raise UnknownRechargeError(f"there is no recharge {recharge_id!r}; check the id")
    if found.booked_at is not None:
        raise RechargeBookedError(f"the recharge {recharge_id} was booked at {found.booked_at}")
    open_stage(session)
    values = {"id": recharge_id, "kind": GrantKind.BULK.value, "priority": PRIORITY, "now": now}
    session.execute(_STAGE, values)
    booked = book_staged(session, actor=actor, approval=found.approval, now=now)
    if found.mode == RechargeMode.ATOMIC.value:
        _refuse_gaps(session, recharge_id)
    done = update(recharge).where(recharge.c.id == recharge_id)
    session.execute(done.values(booked_at=now, booked=booked))
    return booked


def _refuse_gaps(session: Session, recharge_id: str) -> None:
    left_out = session.scalar(_LEFT_OUT, {"id": recharge_id})
    if left_out is not None:
        raise RechargeRefusedError(
            f"{left_out!r} cannot be recharged any more, so nobody is; send it anew without it"
        )


def made_lately(
    session: Session, *, maker: str, minute_ago: datetime, day_ago: datetime
) -> tuple[int, MicroTokens]:
    """How often a person recharged in the last minute, and how much alone in the last day."""
    values = {"maker": maker, "minute_ago": minute_ago, "day_ago": day_ago}
    row = session.execute(_SPENT, values).one()
    return row.lately, MicroTokens(row.tokens)


def with_content(session: Session, content_sha256: str) -> str | None:
    """The recharge that was made of a file with this digest and was not refused, the newest."""
    wanted = _SELECTED.where(
        recharge.c.content_sha256 == content_sha256, recharge.c.source == "csv"
    ).order_by(recharge.c.id.desc())
    for row in session.execute(wanted).mappings():
        found = _recharge(row)
        if found.status in {RechargeStatus.COMPLETED, RechargeStatus.PENDING}:
            return found.id
    return None


def get(session: Session, recharge_id: str) -> Recharge:
    """One recharge; raises ``UnknownRechargeError``."""
    row = session.execute(_SELECTED.where(recharge.c.id == recharge_id)).mappings().one_or_none()
    if row is None:
        raise UnknownRechargeError(f"there is no recharge {recharge_id!r}; check the id")
    return _recharge(row)


def listed(session: Session, *, limit: int = 50, after: str | None = None) -> list[Recharge]:
    """Recharges, newest first; ``after`` is the last id already seen."""
    wanted = _SELECTED.order_by(recharge.c.id.desc()).limit(limit)
    if after is not None:
        wanted = wanted.where(recharge.c.id < after)
    return [_recharge(row) for row in session.execute(wanted).mappings()]


def lines(
    session: Session,
    recharge_id: str,
    *,
    failed_only: bool = False,
    limit: int | None = None,
    after: int = 0,
) -> list[LoggedLine]:
    """The log of a recharge in the order of its rows, from the row after ``after``."""
    values = {"id": recharge_id, "after": after, "failed_only": failed_only, "limit": limit}
    return [LoggedLine(**row) for row in session.execute(_LINES, values).mappings()]


def _recharge(row: RowMapping) -> Recharge:
    state = row["approval_state"]
    if row["booked_at"] is not None:
        status = RechargeStatus.COMPLETED
    else:
        status = RechargeStatus.PENDING if state == "pending" else RechargeStatus(state)
    values = {name: value for name, value in row.items() if name != "approval_state"}
    return Recharge(**{**values, "mode": RechargeMode(row["mode"]), "status": status})
