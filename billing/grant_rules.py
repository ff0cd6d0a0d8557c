"""Rules that give tokens by the clock, as data: who, how much, when, for how long.

The only writer of ``grant_rule``. A rule never changes but for being switched on and off; another
amount is another rule. Nothing from the time that it was off is caught up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import RowMapping, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from billing.amounts import MICRO, MicroTokens
from billing.errors import GrantRuleExistsError, InvalidGrantRuleError, UnknownGrantRuleError
from billing.grant_schedule import RuleKind, Timing
from billing.grant_tables import grant_rule
from billing.grants import GrantKind

PRIORITY: Final = 50  # what comes anew each night is drawn before what was bought
MEASURES: Final = ("jobs", "outputs")
LIFETIME_DAYS_MAX: Final = 3660
NAME_LENGTH_MAX: Final = 128


@dataclass(frozen=True, slots=True)
class NewRule:
    """A rule as an operator writes it; what a kind does not use stays None."""

    name: str
    kind: RuleKind
    amount: MicroTokens
    group: str | None = None  # None: whatever group
    tenants: Sequence[str] | None = None  # campaign: ids; None: everybody of the group
    month_day: int | None = None  # monthly: 1 to 31
    measure: str | None = None  # reward: jobs | outputs, of the local date before
    at_least: int | None = None  # reward
    starts_at: datetime | None = None  # None: from now on
    ends_at: datetime | None = None
    lifetime_days: int | None = None  # local dates; None: the tokens do not expire
    expires_at: datetime | None = None  # campaign: one end for everybody
    priority: int = PRIORITY


@dataclass(frozen=True, slots=True)
class Rule(NewRule):
    """A rule that stands."""

    id: str = ""
    is_enabled: bool = True
    enabled_at: datetime | None = None
    maker: str = ""
    created_at: datetime | None = None

    @property
    def timing(self) -> Timing:
        """What decides when it grants."""
        assert self.starts_at is not None  # noqa: S101 - set when it was made
        assert self.enabled_at is not None  # noqa: S101 - as well
        since = self.starts_at
        if self.kind is not RuleKind.CAMPAIGN:
            since = max(since, self.enabled_at)
        return Timing(
            self.kind, since, self.ends_at, self.month_day, self.lifetime_days, self.expires_at
        )

    @property
    def grant_kind(self) -> GrantKind:
        """Nightly tokens are a quota; rewards and campaigns are gifts."""
        nightly = self.kind in {RuleKind.DAILY, RuleKind.MONTHLY}
        return GrantKind.QUOTA if nightly else GrantKind.GRANT


# What a new installation starts with: five tokens a day that do not accumulate, and the nightly
# grant of VIPs. The cycle of enterprises is a rule of an operator's: how much is agreed with each.
SHIPPED: Final = (
    NewRule("free daily", RuleKind.DAILY, MicroTokens(5 * MICRO), group="free", lifetime_days=1),
    NewRule("vip nightly", RuleKind.DAILY, MicroTokens(100 * MICRO), group="vip"),
)


def create(
    session: Session,
    wanted: NewRule,
    *,
    rule_id: str,
    maker: str,
    is_enabled: bool = True,
    now: datetime,
) -> Rule:
    """Make a rule; it grants from the next date that begins.

    Raises:
        InvalidGrantRuleError: it says something that cannot be granted.
        GrantRuleExistsError: there is a rule of this name.
    """
    check(wanted, now=now)
    row = session.execute(
        insert(grant_rule)
        .values(
            id=rule_id,
            name=wanted.name,
            kind=wanted.kind.value,
            amount=wanted.amount,
            tenant_group=wanted.group,
            tenants=None if wanted.tenants is None else list(wanted.tenants),
            month_day=wanted.month_day,
            measure=wanted.measure,
            at_least=wanted.at_least,
            starts_at=wanted.starts_at or now,
            ends_at=wanted.ends_at,
            lifetime_days=wanted.lifetime_days,
            expires_at=wanted.expires_at,
            priority=wanted.priority,
            enabled=is_enabled,
            enabled_at=now,
            maker=maker,
            created_at=now,
        )
        .on_conflict_do_nothing(index_elements=["name"])
        .returning(grant_rule)
    )
    made = row.mappings().one_or_none()
    if made is None:
        raise GrantRuleExistsError(
            f"a grant rule named {wanted.name!r} exists; choose another name"
        )
    return _rule(made)


def ensure_shipped(session: Session, *, new_ids: Sequence[str], now: datetime) -> None:
    """Make the shipped rules that are not there; one that was switched off stays off."""
    known = set(session.scalars(select(grant_rule.c.name)))
    for rule_id, wanted in zip(new_ids, SHIPPED, strict=True):
        if wanted.name not in known:
            create(session, wanted, rule_id=rule_id, maker="system", now=now)


def switch(session: Session, rule_id: str, *, is_enabled: bool, now: datetime) -> Rule:
    """Switch a rule on or off; doing so twice is fine. Raises ``UnknownGrantRuleError``."""
    found = get(session, rule_id)
    if found.is_enabled == is_enabled:
        return found
    values: dict[str, object] = {"enabled": is_enabled}
    if is_enabled:
        values["enabled_at"] = now
    session.execute(update(grant_rule).where(grant_rule.c.id == rule_id).values(values))
    return get(session, rule_id)


def get(session: Session, rule_id: str) -> Rule:
    """One rule; raises ``UnknownGrantRuleError``."""
    row = session.execute(select(grant_rule).where(grant_rule.c.id == rule_id))
    found = row.mappings().one_or_none()
    if found is None:
        raise UnknownGrantRuleError(f"there is no grant rule {rule_id!r}; check the id")
    return _rule(found)


def listed(
    session: Session, *, enabled_only: bool = False, limit: int = 1000, after: str | None = None
) -> list[Rule]:
    """Rules, newest first; ``after`` is the last id already seen."""
    wanted = select(grant_rule).order_by(grant_rule.c.id.desc()).limit(limit)
    if enabled_only:
        wanted = wanted.where(grant_rule.c.enabled)
    if after is not None:
        wanted = wanted.where(grant_rule.c.id < after)
    return [_rule(row) for row in session.execute(wanted).mappings()]


def check(rule: NewRule, *, now: datetime) -> None:
    """Refuse what makes no sense; pure. Raises ``InvalidGrantRuleError``."""
    wrong = next((text for is_wrong, text in _faults(rule, now=now) if is_wrong), None)
    if wrong is not None:
        raise InvalidGrantRuleError(wrong)


def _faults(rule: NewRule, *, now: datetime) -> tuple[tuple[bool, str], ...]:
    is_monthly, is_reward = rule.kind is RuleKind.MONTHLY, rule.kind is RuleKind.REWARD
    is_campaign = rule.kind is RuleKind.CAMPAIGN
    day, days, end = rule.month_day, rule.lifetime_days, rule.expires_at
    return (
        (not 0 < len(rule.name.strip()) <= NAME_LENGTH_MAX, "a rule needs a name"),
        (rule.amount <= 0, "a rule gives more than 0 tokens"),
        (is_monthly != (day is not None), "month_day belongs to a monthly rule, and to it only"),
        (day is not None and not 1 <= day <= 31, "month_day is 1 to 31"),  # noqa: PLR2004
        (
            is_reward != (rule.measure is not None and rule.at_least is not None),
            "measure and at_least belong to a reward, and to it only",
        ),
        (rule.measure not in {None, *MEASURES}, "measure is jobs or outputs"),
        (rule.at_least is not None and rule.at_least < 1, "at_least is 1 or more"),
        (not is_campaign and rule.tenants is not None, "a list of tenants belongs to a campaign"),
        (rule.tenants is not None and not rule.tenants, "the list of tenants is empty"),
        (not is_campaign and end is not None, "expires_at belongs to a campaign"),
        (is_campaign and days is not None, "a campaign has expires_at, not lifetime_days"),
        (
            days is not None and not 1 <= days <= LIFETIME_DAYS_MAX,
            f"lifetime_days is 1 to {LIFETIME_DAYS_MAX}",
        ),
        (end is not None and end <= (rule.starts_at or now), "expires_at is after the start"),
        (
            rule.ends_at is not None and rule.ends_at <= (rule.starts_at or now),
            "ends_at is after the start",
        ),
    )


def _rule(row: RowMapping) -> Rule:
    values = dict(row)
    values["group"] = values.pop("tenant_group")
    values["is_enabled"] = values.pop("enabled")
    values["kind"] = RuleKind(values["kind"])
    return Rule(**values)
