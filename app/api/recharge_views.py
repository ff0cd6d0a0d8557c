"""Recharges and their log as JSON and as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from app.api.replies import moment
from app.recharges.csv_file import safe_cell
from app.recharges.order import Order
from app.recharges.service import Preview
from billing import recharges
from billing.amounts import to_number
from billing.recharges import LoggedLine, Recharge, RechargeLine

FAILED_SHOWN_MAX = 10_000
LOG_COLUMNS = (
    *("row", "user", "tenant", "amount", "expires_at", "status", "code", "detail", "grant"),
    *("balance_before", "balance_after", "operator", "reason"),
)


def summary_view(found: Recharge) -> dict[str, Any]:
    """A recharge as lists show it."""
    return {
        "id": found.id,
        "object": "recharge",
        "status": found.status.value,
        "source": found.source,
        "mode": found.mode.value,
        "operator": found.operator,
        "reason": found.reason,
        "maker": found.maker,
        "users": found.rows,
        "succeeded": found.booked or 0,
        "failed": found.failed,
        "tokens": to_number(found.tokens),
        "approval": found.approval,
        "created_at": moment(found.created_at),
        "booked_at": moment(found.booked_at),
    }


def recharge_view(session: Session, found: Recharge) -> dict[str, Any]:
    """A recharge with its failed users."""
    failed = []
    if found.failed:
        failed = recharges.lines(session, found.id, failed_only=True, limit=FAILED_SHOWN_MAX)
    return {
        **summary_view(found),
        "failed_users": _failed_users(failed),
        "needs_approval": found.approval is not None,
    }


def preview_view(order: Order, found: Preview, *, maker: str) -> dict[str, Any]:
    """What a recharge would be."""
    bad = [line for line in found.lines if line.error is not None]
    return {
        "id": None,
        "object": "recharge",
        "status": "dry_run",
        "source": order.source,
        "mode": order.mode.value,
        "operator": order.operator,
        "reason": order.reason,
        "maker": maker,
        "users": len(found.lines),
        "succeeded": len(found.lines) - len(bad),
        "failed": len(bad),
        "tokens": to_number(found.tokens),
        "failed_users": _failed_users(bad[:FAILED_SHOWN_MAX]),
        "approval": None,
        "needs_approval": found.needs_approval,
        "created_at": None,
        "booked_at": None,
    }


def _failed_users(lines: Sequence[RechargeLine]) -> list[dict[str, Any]]:
    return [
        {"row": line.row, "user": line.named, "code": line.error, "reason": line.detail}
        for line in lines
    ]


def log_line_view(found: Recharge, line: LoggedLine) -> dict[str, Any]:
    """One line of the log."""
    if line.error is not None:
        status = "failed"
    else:
        status = "waiting" if line.token_grant is None else "booked"
    return {
        "row": line.row,
        "user": line.named,
        "tenant": line.tenant,
        "amount": _tokens(line.amount),
        "expires_at": moment(line.expires_at),
        "status": status,
        "code": line.error,
        "detail": line.detail,
        "grant": None if line.token_grant is None else str(line.token_grant),
        "balance_before": _tokens(line.balance_before),
        "balance_after": _tokens(line.balance_after),
        "operator": found.operator,
        "reason": found.reason,
    }


def _tokens(amount: int | None) -> int | float | None:
    return None if amount is None else to_number(amount)


def log_csv(found: Recharge, lines: Sequence[LoggedLine]) -> str:
    """The whole log as CSV; no cell is a formula, whatever callers wrote."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(LOG_COLUMNS)
    for line in lines:
        view = log_line_view(found, line)
        writer.writerow(safe_cell(view[column]) for column in LOG_COLUMNS)
    return text.getvalue()
