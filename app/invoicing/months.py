"""Month ends, where each tenant lives: finds what is not invoiced yet and has billing issue it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from app.errors import InvalidRequestError
from billing.invoices import Customer, Invoice, issue_invoice
from billing.windows import Period, starts_anew, window_of

# A settlement that began before midnight may commit after it.
GRACE: Final = timedelta(minutes=15)
CATCH_UP_MONTHS: Final = 12
_MONTH: Final = re.compile(r"(2\d{3})-(0[1-9]|1[0-2])", re.ASCII)

_TENANTS = text(
    """
    SELECT t.id, t.name, t.zone, t.created_at, w.mode,
           (SELECT max(i.month) FROM billing.invoice i WHERE i.tenant = t.id) AS last_month
      FROM tenant t JOIN billing.wallet w ON w.tenant = t.id
     ORDER BY t.id
    """
)
_TENANT = text(
    "SELECT t.id, t.name, t.zone, w.mode FROM tenant t JOIN billing.wallet w ON w.tenant = t.id"
    " WHERE t.id = :tenant_id"
)


@dataclass(frozen=True, slots=True)
class DueMonth:
    """A month that is over and has no invoice."""

    customer: Customer
    month: date


def due_months(session: Session, *, now: datetime) -> list[DueMonth]:
    """Every month that ended where its tenant lives, since the tenant's first, at most a year."""
    return [
        DueMonth(Customer(row.id, row.name, row.zone, row.mode), month)
        for row in session.execute(_TENANTS)
        for month in months_due(
            created_at=row.created_at, last_month=row.last_month, zone=row.zone, now=now
        )
    ]


def months_due(
    *, created_at: datetime, last_month: date | None, zone: str, now: datetime
) -> Iterator[date]:
    """The months to invoice, oldest first. Pure."""
    running = window_of(Period.MONTH, zone, now - GRACE)
    first = window_of(Period.MONTH, zone, created_at) if last_month is None else after(last_month)
    month = max(first, _back(running, CATCH_UP_MONTHS))
    while month < running:
        yield month
        month = after(month)


def close_due_months(
    sessions: sessionmaker[Session], *, actor: str, now: datetime
) -> list[Invoice]:
    """Issue what is due, each invoice in a transaction of its own; twice at once does no harm."""
    with sessions() as session:
        due = due_months(session, now=now)
    issued = []
    for each in due:
        with sessions.begin() as session:
            made = issue_invoice(session, each.customer, each.month, actor=actor, now=now)
        if made.created:
            issued.append(made)
    return issued


def customer_of(session: Session, tenant_id: str) -> Customer:
    """What invoices and statements say of a tenant."""
    row = session.execute(_TENANT, {"tenant_id": tenant_id}).one()
    return Customer(row.id, row.name, row.zone, row.mode)


def month_bounds(month: date, zone: str) -> tuple[datetime, datetime]:
    """First moment of a month in a zone, and of the next one, in UTC."""
    previous = _back(month, 1)
    return starts_anew(Period.MONTH, zone, previous), starts_anew(Period.MONTH, zone, month)


def parse_month(text_: str) -> date:
    """``2026-10`` as its first day.

    Raises:
        InvalidRequestError: it is no month.
    """
    found = _MONTH.fullmatch(text_)
    if found is None:
        raise InvalidRequestError(f"{text_[:20]!r} is no month; write it like 2026-10.")
    return date(int(found[1]), int(found[2]), 1)


def after(month: date) -> date:
    """The month after."""
    return _back(month, -1)


def _back(month: date, count: int) -> date:
    index = month.year * 12 + month.month - 1 - count
    return date(index // 12, index % 12 + 1, 1)
