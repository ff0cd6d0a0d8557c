"""Rules beside the rate cards, as data: versioned like cards, immutable once published.

A rule is a kind and a subject: the tenant it is for (or everybody, ``*``), a device, or a name. Its
version in force is the newest whose ``effective_from`` has come; to end a rule, publish one that
says nothing (no bands, no steps, 100 percent).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.orm import Session

from billing.audit import record
from billing.device_factors import read_factor
from billing.errors import EffectivePastError, InvalidRuleError, RuleOverlapError
from billing.multipliers import Rules, read_bands, read_percent, read_steps
from billing.offers import read_list_choice, read_pack, read_plan
from billing.rule_data import check_horizon
from billing.tables import pricing_rule
from billing.tiers import read_price_list

EVERYBODY: Final = "*"
CATALOGUE: Final = "catalogue"  # who published what was shipped
SUBJECT_LENGTH_MAX: Final = 200


class RuleKind(StrEnum):
    """What a rule is about."""

    TIME_OF_DAY = "time_of_day"  # bands of the day in the tenant's zone; for "*" or one tenant
    GPU_LOAD = "gpu_load"  # steps over the share of busy GPUs; for "*" or one tenant
    TENANT_OVERRIDE = "tenant_override"  # percent of the price that one tenant pays
    DEVICE_FACTOR = "device_factor"  # speed beside the reference device
    PRICE_LIST = "price_list"  # yuan for a token, by name
    TENANT_PRICE_LIST = "tenant_price_list"  # which list a tenant is on; else "standard"
    PACK = "pack"  # tokens bought at once, by name
    SUBSCRIPTION_PLAN = "subscription_plan"  # by name


READERS: Final[Mapping[RuleKind, Callable[[Mapping[str, Any]], object]]] = {
    RuleKind.TIME_OF_DAY: read_bands,
    RuleKind.GPU_LOAD: read_steps,
    RuleKind.TENANT_OVERRIDE: read_percent,
    RuleKind.DEVICE_FACTOR: read_factor,
    RuleKind.PRICE_LIST: read_price_list,
    RuleKind.TENANT_PRICE_LIST: read_list_choice,
    RuleKind.PACK: read_pack,
    RuleKind.SUBSCRIPTION_PLAN: read_plan,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One published version."""

    kind: RuleKind
    subject: str
    version: int
    effective_from: datetime
    published_at: datetime
    published_by: str
    body: Mapping[str, Any]


def publish_rule(
    session: Session,
    *,
    kind: str,
    subject: str,
    body: Mapping[str, Any],
    actor: str,
    effective_from: datetime | None = None,
    now: datetime,
) -> Rule:
    """Publish the next version of a rule, in force from ``effective_from`` (default: now).

    Raises:
        InvalidRuleError: the kind is unknown, the body or the subject wrong for it.
        EffectivePastError: it would change prices of the past.
        RuleOverlapError: a version is scheduled for then or later.
    """
    found = _kind(kind)
    _check_subject(found, subject)
    READERS[found](body)
    start = now if effective_from is None else effective_from
    check_horizon(start)
    if start < now:
        raise EffectivePastError(f"a rule begins now or later, not at {start.isoformat()}")
    # Two admins at once: the second sees the first one's version.
    session.execute(
        text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"rule:{kind}:{subject}"}
    )
    latest = _latest(session, found, subject)
    if latest is not None and latest["effective_from"] >= start:
        raise RuleOverlapError(
            f"version {latest['version']} of this rule begins at"
            f" {latest['effective_from'].isoformat()}; choose a later time"
        )
    row = session.execute(
        insert(pricing_rule)
        .values(
            kind=found.value,
            subject=subject,
            version=1 if latest is None else latest["version"] + 1,
            effective_from=start,
            published_by=actor,
            body=dict(body),
        )
        .returning(pricing_rule)
    )
    rule = _rule(row.mappings().one())
    if actor == CATALOGUE:
        return rule
    record(
        session,
        actor=actor,
        action="pricing_rule.publish",
        subject=f"{rule.kind}:{subject}@{rule.version}",
        detail={"effective_from": start.isoformat(), "body": dict(body)},
        now=now,
    )
    return rule


def list_rules(session: Session, *, kind: str | None = None) -> list[Rule]:
    """Every version, by kind and subject, newest first."""
    wanted = select(pricing_rule).order_by(
        pricing_rule.c.kind, pricing_rule.c.subject, pricing_rule.c.version.desc()
    )
    if kind is not None:
        wanted = wanted.where(pricing_rule.c.kind == _kind(kind).value)
    return [_rule(row) for row in session.execute(wanted).mappings()]


def current_rules(session: Session, kind: RuleKind, now: datetime) -> dict[str, Rule]:
    """The version in force of each subject."""
    wanted = (
        select(pricing_rule)
        .where(pricing_rule.c.kind == kind.value, pricing_rule.c.effective_from <= now)
        .order_by(pricing_rule.c.effective_from)
    )
    return {row["subject"]: _rule(row) for row in session.execute(wanted).mappings()}


def rule_in_force(session: Session, kind: RuleKind, subject: str, now: datetime) -> Rule | None:
    """The version of one subject that is in force; None where nobody published one."""
    wanted = (
        select(pricing_rule)
        .where(
            pricing_rule.c.kind == kind.value,
            pricing_rule.c.subject == subject,
            pricing_rule.c.effective_from <= now,
        )
        .order_by(pricing_rule.c.effective_from.desc())
        .limit(1)
    )
    row = session.execute(wanted).mappings().one_or_none()
    return None if row is None else _rule(row)


class RuleBook:
    """The multipliers in force, parsed; immutable, shared between threads."""

    def __init__(self, current: Mapping[tuple[RuleKind, str], object] | None = None) -> None:
        self._current: dict[tuple[RuleKind, str], Any] = dict(current or {})

    @classmethod
    def load(cls, session: Session, now: datetime) -> "RuleBook":
        """Read the rules that are in force at ``now``."""
        kinds = (RuleKind.TIME_OF_DAY, RuleKind.GPU_LOAD, RuleKind.TENANT_OVERRIDE)
        return cls(
            {
                (kind, subject): READERS[kind](rule.body)
                for kind in kinds
                for subject, rule in current_rules(session, kind, now).items()
            }
        )

    def rules_for(self, tenant: str) -> Rules:
        """A tenant's own rule of a kind goes before everybody's."""
        if not self._current:
            return Rules()
        return Rules(
            bands=self._of(RuleKind.TIME_OF_DAY, tenant) or (),
            steps=self._of(RuleKind.GPU_LOAD, tenant) or (),
            percent=self._of(RuleKind.TENANT_OVERRIDE, tenant),
        )

    def _of(self, kind: RuleKind, tenant: str) -> Any:  # noqa: ANN401 - what its reader made
        own = self._current.get((kind, tenant))
        return self._current.get((kind, EVERYBODY)) if own is None else own


def _kind(name: str) -> RuleKind:
    if name not in set(RuleKind):
        raise InvalidRuleError(f"a rule is one of {', '.join(RuleKind)}, not {name!r}")
    return RuleKind(name)


def _check_subject(kind: RuleKind, subject: str) -> None:
    if not 0 < len(subject) <= SUBJECT_LENGTH_MAX or not subject.isprintable():
        raise InvalidRuleError(f"the subject has 1 to {SUBJECT_LENGTH_MAX} printable characters")
    if subject == EVERYBODY and kind not in {RuleKind.TIME_OF_DAY, RuleKind.GPU_LOAD}:
        raise InvalidRuleError(f"a rule of {kind} names one subject, not everybody")


def _latest(session: Session, kind: RuleKind, subject: str) -> RowMapping | None:
    newest = (
        select(pricing_rule.c.version, pricing_rule.c.effective_from)
        .where(pricing_rule.c.kind == kind.value, pricing_rule.c.subject == subject)
        .order_by(pricing_rule.c.version.desc())
        .limit(1)
    )
    return session.execute(newest).mappings().one_or_none()


def _rule(row: RowMapping) -> Rule:
    return Rule(
        kind=RuleKind(row["kind"]),
        subject=row["subject"],
        version=row["version"],
        effective_from=row["effective_from"],
        published_at=row["published_at"],
        published_by=row["published_by"],
        body=row["body"],
    )
