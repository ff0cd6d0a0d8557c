"""Anomaly rules: made, ended and listed; findings are read here too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.functions import func

from app.anomalies.models import AnomalyFinding, AnomalyRule
from app.errors import FieldError, InvalidRequestError, NotFoundError
from app.ids import new_id
from app.tenants.service import get_tenant
from billing.amounts import MAX_TOKENS, MICRO, MicroTokens

BOUNDS: Final[Mapping[str, tuple[float, float]]] = {
    "factor": (1.01, 1000),
    "min_tokens": (1, MAX_TOKENS * MICRO),  # micro-tokens
    "min_hours": (1, 14 * 24),
    "max_times": (1, 1_000_000),
    "minutes": (1, 24 * 60),
}


@dataclass(frozen=True, slots=True)
class Spike:
    """A key or end user needs more in an hour than ``factor`` times its own usual hour.

    Usual is the mean of its active hours in the 14 days before; fewer than ``min_hours`` of them
    are no pattern, and an hour below ``min_tokens`` is never odd.
    """

    factor: float
    min_tokens: MicroTokens
    min_hours: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same content is sent more than ``max_times`` within ``minutes``, as whatever input."""

    max_times: int
    minutes: int


def create_rule(
    session: Session, terms: Spike | Repeat, *, tenant_id: str | None, freeze: bool
) -> AnomalyRule:
    """Make a rule for one tenant, or for all of them when ``tenant_id`` is None.

    Raises:
        InvalidRequestError: code ``invalid_anomaly_rule``.
        NotFoundError: code ``tenant_not_found``.
    """
    _check(terms)
    if tenant_id is not None:
        get_tenant(session, tenant_id)
    rule = AnomalyRule(
        id=new_id("rule"),
        kind="spike" if isinstance(terms, Spike) else "repeat",
        tenant_id=tenant_id,
        freezes=freeze,
        **{name: getattr(terms, name) for name in terms.__slots__},
    )
    session.add(rule)
    session.flush()
    session.refresh(rule)
    return rule


def end_rule(session: Session, rule_id: str) -> None:
    """End a rule; what it found stays.

    Raises:
        NotFoundError: code ``anomaly_rule_not_found``.
    """
    ended = session.scalar(
        update(AnomalyRule)
        .where(AnomalyRule.id == rule_id, AnomalyRule.ended_at.is_(None))
        .values(ended_at=func.clock_timestamp())
        .returning(AnomalyRule.id)
    )
    if ended is None:
        raise NotFoundError(
            "There is no such anomaly rule in force.", code="anomaly_rule_not_found"
        )


def rules_in_force(
    session: Session, *, limit: int | None = None, after: str | None = None
) -> list[AnomalyRule]:
    """The rules, oldest first; ``after`` is the id of the last one already seen."""
    query = select(AnomalyRule).where(AnomalyRule.ended_at.is_(None)).order_by(AnomalyRule.id)
    if after is not None:
        query = query.where(AnomalyRule.id > after)
    return list(session.scalars(query.limit(limit)))


def findings(
    session: Session, *, limit: int, after: str | None = None, tenant_id: str | None = None
) -> list[AnomalyFinding]:
    """What was found, newest first."""
    query = select(AnomalyFinding).order_by(AnomalyFinding.id.desc()).limit(limit)
    if after is not None:
        query = query.where(AnomalyFinding.id < after)
    if tenant_id is not None:
        query = query.where(AnomalyFinding.tenant_id == tenant_id)
    return list(session.scalars(query))


def _check(terms: Spike | Repeat) -> None:
    wrong = [
        FieldError(f"/{name}", f"{low:g} to {high:g}")
        for name in terms.__slots__
        for low, high in (BOUNDS[name],)
        if not low <= getattr(terms, name) <= high
    ]
    if wrong:
        raise invalid_rule(wrong)


def invalid_rule(wrong: list[FieldError]) -> InvalidRequestError:
    """The refusal of a rule that makes no sense."""
    return InvalidRequestError(
        f"The rule makes no sense: {wrong[0].pointer} must be {wrong[0].detail}.",
        code="invalid_anomaly_rule",
        errors=wrong,
    )
