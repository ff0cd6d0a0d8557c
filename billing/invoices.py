"""Invoices: one for each tenant and calendar month of its zone, numbered, never changed.

What a month costs: tokens charged on credit by the bands of the tenant's price list, packs and
fees of subscriptions as they were bought. Tokens drawn from grants are told and cost nothing more:
they were paid for, or given. Everything adds up exactly and is rounded half up once, in the total.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from sqlalchemy import RowMapping, func, insert, select, text
from sqlalchemy.orm import Session

from billing.amounts import MICRO, MicroTokens, to_number
from billing.audit import record
from billing.errors import MonthNotOverError, UnknownInvoiceError
from billing.invoice_tables import invoice, purchase
from billing.purchases import price_list_of
from billing.tiers import CURRENCY, PriceList, band_charges, yuan
from billing.windows import Period, starts_anew


@dataclass(frozen=True, slots=True)
class Customer:
    """What an invoice says of its tenant; the app knows it."""

    tenant: str
    name: str
    zone: str
    mode: str  # prepaid | postpaid


@dataclass(frozen=True, slots=True)
class Invoice:
    """An issued invoice; ``body`` is all of it, JSON-ready. ``created`` is False on a replay."""

    number: str
    tenant: str
    month: date
    total: Decimal
    issued_at: datetime
    body: dict[str, Any]
    created: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line: its amount is exact yuan, shown with as many decimals as it needs."""

    kind: str  # tier | pack | subscription
    description: str
    quantity: Fraction
    unit: str
    unit_price: Fraction
    amount: Fraction


_USAGE = text(
    """
    SELECT c.card || '@' || c.card_version AS rate_card, u.engine, u.model, count(*) AS jobs,
           sum(c.charged)::bigint AS tokens
      FROM billing.charge c JOIN billing.usage_record u ON u.job = c.job
     WHERE c.wallet = (SELECT w.id FROM billing.wallet w WHERE w.tenant = :tenant)
       AND c.settled_at >= :start AND c.settled_at < :end
     GROUP BY c.card, c.card_version, u.engine, u.model
     ORDER BY c.card, c.card_version, u.engine, u.model
    """
)
# What was charged on credit and not given back: the grant of kind ``credit`` lent it.
_ON_CREDIT = text(
    """
    SELECT coalesce(sum(CASE WHEN t.credit = 'revenue' THEN t.amount ELSE -t.amount END), 0)::bigint
      FROM billing.journal j
      JOIN billing.transfer t ON t.journal = j.id
      JOIN billing.token_grant g ON g.id = t.token_grant AND g.kind = 'credit'
     WHERE j.wallet = (SELECT w.id FROM billing.wallet w WHERE w.tenant = :tenant)
       AND j.occurred_at >= :start AND j.occurred_at < :end
       AND ((t.debit = 'held' AND t.credit = 'revenue')
            OR (t.debit = 'revenue' AND t.credit = 'debt'))
    """
)
_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('invoice numbers'))")


def on_credit(session: Session, tenant: str, *, start: datetime, end: datetime) -> MicroTokens:
    """Tokens that were charged on credit in a time, without those given back; never below 0."""
    period = {"tenant": tenant, "start": start, "end": end}
    return MicroTokens(max(0, session.execute(_ON_CREDIT, period).scalar_one()))


def issue_invoice(
    session: Session, customer: Customer, month: date, *, actor: str, now: datetime
) -> Invoice:
    """Issue the invoice of a month that is over; the same month again answers the same.

    A period begins where the one before ended, so that after a change of the zone nothing is left
    out and nothing stands on two invoices.

    Raises:
        MonthNotOverError: the month goes on where the tenant lives.
    """
    session.execute(_LOCK)  # numbers have no gaps, and of two issuers the second finds the first's
    known = _find(session, invoice.c.tenant == customer.tenant, invoice.c.month == month)
    if known is not None:
        return known
    end = starts_anew(Period.MONTH, customer.zone, month)
    if now < end:
        raise MonthNotOverError(f"{month:%Y-%m} ends at {end.isoformat()} in {customer.zone}")
    start = _start(session, customer, month)
    prices = price_list_of(session, customer.tenant, now)
    billed = on_credit(session, customer.tenant, start=start, end=end)
    usage = session.execute(_USAGE, {"tenant": customer.tenant, "start": start, "end": end})
    lines = [
        *tier_lines(prices, billed),
        *_purchase_lines(session, customer.tenant, start=start, end=end),
    ]
    total = yuan(sum((line.amount for line in lines), Fraction(0)))
    seq = _next_number(session, now.year)
    number = f"PM-{now.year}-{seq:06d}"
    body = {
        "number": number,
        "tenant": customer.tenant,
        "name": customer.name,
        "mode": customer.mode,
        "month": f"{month:%Y-%m}",
        "zone": customer.zone,
        "period": {"start": start.isoformat(), "end": end.isoformat()},
        "issued_at": now.isoformat(),
        "currency": CURRENCY,
        "price_list": f"{prices.name}@{prices.version}",
        "usage": [_usage(row) for row in usage.mappings()],
        "billed_tokens": to_number(billed),
        "lines": [_line(line) for line in lines],
        "total": str(total),
    }
    session.execute(
        insert(invoice).values(
            number=number,
            year=now.year,
            seq=seq,
            tenant=customer.tenant,
            month=month,
            zone=customer.zone,
            period_start=start,
            period_end=end,
            issued_at=now,
            total=total,
            body=body,
        )
    )
    detail = {"tenant": customer.tenant, "month": f"{month:%Y-%m}", "total": str(total)}
    record(session, actor=actor, action="invoice.issue", subject=number, detail=detail, now=now)
    return Invoice(number, customer.tenant, month, total, now, body, created=True)


def tier_lines(prices: PriceList, tokens: MicroTokens) -> list[Line]:
    """A line for each band that the month's tokens reached."""
    lines, first = [], 1
    for charge in band_charges(prices, tokens):
        last = charge.band.up_to
        until = "and more" if last is None else f"to {_grouped(last)}"
        lines.append(
            Line(
                kind="tier",
                description=f"Tokens {_grouped(first)} {until}",
                quantity=Fraction(charge.tokens, MICRO),
                unit="token",
                unit_price=charge.band.price,
                amount=charge.amount,
            )
        )
        first = (last or 0) + 1
    return lines


def find_invoice(session: Session, *, tenant: str, number: str) -> Invoice:
    """One invoice of a tenant.

    Raises:
        UnknownInvoiceError: unknown, or another tenant's.
    """
    found = _find(session, invoice.c.tenant == tenant, invoice.c.number == number)
    if found is None:
        raise UnknownInvoiceError(f"there is no invoice {number!r}; list them to see their numbers")
    return found


def list_invoices(
    session: Session, *, tenant: str, limit: int, after: str | None = None
) -> Sequence[Invoice]:
    """A tenant's invoices, newest month first; ``after`` is the number last seen."""
    wanted = select(invoice).where(invoice.c.tenant == tenant)
    if after is not None:
        seen = select(invoice.c.month).where(invoice.c.tenant == tenant, invoice.c.number == after)
        wanted = wanted.where(invoice.c.month < seen.scalar_subquery())
    rows = session.execute(wanted.order_by(invoice.c.month.desc()).limit(limit))
    return [_invoice(row) for row in rows.mappings()]


def last_month(session: Session, tenant: str) -> date | None:
    """The latest month that a tenant has an invoice of."""
    found: date | None = session.scalar(
        select(func.max(invoice.c.month)).where(invoice.c.tenant == tenant)
    )
    return found


def _purchase_lines(session: Session, tenant: str, *, start: datetime, end: datetime) -> list[Line]:
    rows = session.execute(
        select(purchase)
        .where(
            purchase.c.tenant == tenant,
            purchase.c.bought_at >= start,
            purchase.c.bought_at < end,
            purchase.c.amount > 0,
        )
        .order_by(purchase.c.id)
    ).mappings()
    return [_bought(row) for row in rows]


def _bought(row: RowMapping) -> Line:
    amount = Fraction(row["amount"])
    if row["kind"] == "pack":
        tokens = Fraction(row["tokens"], MICRO)
        description = f"Pack {row['item']}, {_grouped(int(tokens))} tokens"
        return Line("pack", description, tokens, "token", Fraction(row["token_price"]), amount)
    period = f"{row['period_start']} to before {row['period_end']}"
    description = f"Subscription {row['item']}, {period}"
    return Line("subscription", description, Fraction(1), "cycle", amount, amount)


def _start(session: Session, customer: Customer, month: date) -> datetime:
    before: datetime | None = session.scalar(
        select(func.max(invoice.c.period_end)).where(
            invoice.c.tenant == customer.tenant, invoice.c.month < month
        )
    )
    last_of_previous = date.fromordinal(month.toordinal() - 1)
    own = starts_anew(Period.MONTH, customer.zone, last_of_previous.replace(day=1))
    previous = session.scalar(
        select(func.max(invoice.c.month)).where(
            invoice.c.tenant == customer.tenant, invoice.c.month < month
        )
    )
    follows = previous == last_of_previous.replace(day=1)
    return before if before is not None and follows else own


def _next_number(session: Session, year: int) -> int:
    highest = session.scalar(select(func.max(invoice.c.seq)).where(invoice.c.year == year))
    return (highest or 0) + 1


def _find(session: Session, *conditions: Any) -> Invoice | None:  # noqa: ANN401 - SQL conditions
    row = session.execute(select(invoice).where(*conditions)).mappings().one_or_none()
    return None if row is None else _invoice(row)


def _invoice(row: RowMapping) -> Invoice:
    return Invoice(
        number=row["number"],
        tenant=row["tenant"],
        month=row["month"],
        total=row["total"],
        issued_at=row["issued_at"],
        body=row["body"],
    )


def _usage(row: RowMapping) -> dict[str, Any]:
    return {**row, "tokens": to_number(row["tokens"])}


def _line(line: Line) -> dict[str, Any]:
    return {
        "kind": line.kind,
        "description": line.description,
        "quantity": _exact(line.quantity),
        "unit": line.unit,
        "unit_price": _exact(line.unit_price, at_least=2),
        "amount": _exact(line.amount, at_least=2),
    }


def _exact(value: Fraction, *, at_least: int = 0) -> str:
    """Every decimal that the value has, which prices and micro-tokens keep few."""
    shown = Decimal(value.numerator) / Decimal(value.denominator)
    exponent = int(shown.normalize().as_tuple().exponent)
    return f"{shown:.{max(at_least, -exponent)}f}"


def _grouped(number: int) -> str:
    return f"{number:,}".replace(",", " ")
