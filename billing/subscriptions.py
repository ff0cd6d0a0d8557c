"""Subscriptions: a plan that a tenant is on, its cycles booked one by one.

The caller says in which zone the tenant lives: a cycle begins and ends at local midnights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from sqlalchemy import RowMapping, func, insert, or_, select, update
from sqlalchemy.orm import Session

from billing.amounts import MICRO, MicroTokens
from billing.audit import record
from billing.errors import ReplayMismatchError, UnknownOfferError
from billing.invoice_tables import purchase, subscription
from billing.offers import Plan, cycle_at, read_plan
from billing.pricing_rules import Rule, RuleKind, current_rules
from billing.purchases import Purchase, book, offer
from billing.tiers import yuan

# A canceled plan is looked after until its last cycle is over.
_LONGEST_CYCLE_DAYS: Final = 366


@dataclass(frozen=True, slots=True)
class Subscription:
    """A plan that a tenant is on."""

    id: int
    tenant: str
    plan: str
    started_on: date
    canceled_on: date | None


def subscribe(
    session: Session,
    *,
    tenant: str,
    plan: str,
    today: date,
    idem_key: str,
    actor: str,
    now: datetime,
) -> Subscription:
    """Put a tenant on a plan from today on; ``renew`` grants its cycles.

    Raises:
        UnknownOfferError: there is no such plan.
        ReplayMismatchError: the key was used for another plan.
    """
    offer(session, RuleKind.SUBSCRIPTION_PLAN, plan, now)
    known = session.execute(
        select(subscription).where(
            subscription.c.tenant == tenant, subscription.c.idem_key == idem_key
        )
    )
    row = known.mappings().one_or_none()
    if row is not None:
        if row["plan"] != plan:
            raise ReplayMismatchError(f"the key {idem_key!r} was used for another plan")
        return _subscription(row)
    made = session.execute(
        insert(subscription)
        .values(tenant=tenant, plan=plan, started_on=today, actor=actor, idem_key=idem_key)
        .returning(subscription)
    )
    record(
        session,
        actor=actor,
        action="subscription.start",
        subject=tenant,
        detail={"plan": plan},
        now=now,
    )
    return _subscription(made.mappings().one())


def cancel(
    session: Session, *, tenant: str, subscription_id: int, today: date, actor: str, now: datetime
) -> Subscription:
    """Let no further cycle begin; what was granted stays until its end. Twice is fine.

    Raises:
        UnknownOfferError: the tenant has no such subscription.
    """
    mine = (subscription.c.id == subscription_id, subscription.c.tenant == tenant)
    session.execute(
        update(subscription)
        .where(*mine, subscription.c.canceled_on.is_(None))
        .values(canceled_on=today)
    )
    row = session.execute(select(subscription).where(*mine)).mappings().one_or_none()
    if row is None:
        raise UnknownOfferError(f"there is no subscription {subscription_id} of this tenant")
    detail = {"subscription": subscription_id}
    record(session, actor=actor, action="subscription.end", subject=tenant, detail=detail, now=now)
    return _subscription(row)


def subscriptions(session: Session, *, tenant: str | None = None) -> list[Subscription]:
    """Those that a cycle may still be due for, or all of one tenant."""
    wanted = select(subscription).order_by(subscription.c.id)
    if tenant is None:
        wanted = wanted.where(
            or_(
                subscription.c.canceled_on.is_(None),
                subscription.c.canceled_on > func.current_date() - _LONGEST_CYCLE_DAYS,
            )
        )
    else:
        wanted = wanted.where(subscription.c.tenant == tenant)
    return [_subscription(row) for row in session.execute(wanted).mappings()]


def due(
    session: Session, held: Sequence[Subscription], *, zones: Mapping[str, str], now: datetime
) -> list[Subscription]:
    """Those of many subscriptions that ``renew`` has something to book for, by one look.

    ``zones`` says where each tenant lives.
    """
    plans = {
        name: read_plan(rule.body)
        for name, rule in current_rules(session, RuleKind.SUBSCRIPTION_PLAN, now).items()
    }
    wanted = {
        each.id: _keys(each, plans[each.plan], today=_today(zones[each.tenant], now))
        for each in held
        if each.plan in plans and each.tenant in zones
    }
    keys = [key for group in wanted.values() for key in group]
    known = set(session.scalars(select(purchase.c.idem_key).where(purchase.c.idem_key.in_(keys))))
    return [each for each in held if set(wanted.get(each.id, ())) - known]


def _keys(held: Subscription, plan: Plan, *, today: date) -> list[str]:
    """The keys of what runs today; they name the subscription, so no tenant shares them."""
    running = _running(held, plan, today=today)
    if running is None:
        return []
    fair_use = [f"fairuse:{held.id}:{today}"] if plan.daily_tokens is not None else []
    return [f"subscription:{held.id}:{running[0]}", *fair_use]


def _running(held: Subscription, plan: Plan, *, today: date) -> tuple[date, date] | None:
    """The cycle of today; None before the first one and after the last."""
    if today < held.started_on:
        return None
    start, end = cycle_at(plan.cycle, held.started_on, today)
    ended = held.canceled_on is not None and held.canceled_on <= start
    return None if ended else (start, end)


def _today(zone: str, now: datetime) -> date:
    return now.astimezone(ZoneInfo(zone)).date()


def renew(session: Session, held: Subscription, *, zone: str, now: datetime) -> list[Purchase]:
    """Book the running cycle and, of an unlimited plan, today's fair use; each once.

    It catches up by itself: a cycle is booked whenever somebody comes while it runs. One that ran
    out while nobody came is neither charged nor granted.
    """
    today = _today(zone, now)
    rule = offer(session, RuleKind.SUBSCRIPTION_PLAN, held.plan, now)
    plan = read_plan(rule.body)
    running = _running(held, plan, today=today)
    if running is None:
        return []
    start, end = running
    booked = [_cycle(session, held, plan, rule, start=start, end=end, zone=zone, now=now)]
    if plan.daily_tokens is not None:
        booked.append(_fair_use(session, held, plan, rule, today=today, zone=zone, now=now))
    return [each for each in booked if each.created]


def _cycle(
    session: Session,
    held: Subscription,
    plan: Plan,
    rule: Rule,
    *,
    start: date,
    end: date,
    zone: str,
    now: datetime,
) -> Purchase:
    return book(
        session,
        tenant=held.tenant,
        idem_key=f"subscription:{held.id}:{start}",
        kind="subscription",
        item=held.plan,
        version=rule.version,
        subscription=held.id,
        period_start=start,
        period_end=end,
        tokens=MicroTokens((plan.tokens or 0) * MICRO),
        token_price=None,
        amount=yuan(plan.fee),
        actor="subscription",
        expires_at=midnight(end, zone),
        now=now,
    )


def _fair_use(
    session: Session,
    held: Subscription,
    plan: Plan,
    rule: Rule,
    *,
    today: date,
    zone: str,
    now: datetime,
) -> Purchase:
    tomorrow = today + timedelta(days=1)
    return book(
        session,
        tenant=held.tenant,
        idem_key=f"fairuse:{held.id}:{today}",
        kind="subscription",
        item=held.plan,
        version=rule.version,
        subscription=held.id,
        period_start=today,
        period_end=tomorrow,
        tokens=MicroTokens((plan.daily_tokens or 0) * MICRO),
        token_price=None,
        amount=Decimal(0),
        actor="subscription",
        expires_at=midnight(tomorrow, zone),
        now=now,
    )


def midnight(day: date, zone: str) -> datetime:
    """The first moment of a local day, in UTC."""
    return datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC)


def _subscription(row: RowMapping) -> Subscription:
    return Subscription(
        id=row["id"],
        tenant=row["tenant"],
        plan=row["plan"],
        started_on=row["started_on"],
        canceled_on=row["canceled_on"],
    )
