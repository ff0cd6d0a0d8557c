"""Usage records: what a job really was, accepted once, settled later.

A record is accepted in the transaction that ends the job and puts the job on the work list of the
billing workers; settlement takes it off.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from billing.amounts import MicroTokens
from billing.cards import split_id
from billing.device_factors import factor_of
from billing.multipliers import multipliers_json
from billing.rates import Multiplier, Work, checked
from billing.tables import settlement_due

# Clocks of a device and of the database differ by a little; more than this is impossible.
_TOLERANCE_PERCENT = 5
_TOLERANCE_US = 50_000


class Outcome(StrEnum):
    """How the job ended."""

    SUCCEEDED = "succeeded"  # the measured work is charged
    FAILED = "failed"  # nothing is charged
    CANCELED = "canceled"  # the work measured until then is charged
    EXPIRED = "expired"  # nothing is charged


@dataclass(frozen=True, slots=True)
class UsageRecord:
    """The billable fact of one job; ids are opaque strings."""

    job: str
    tenant: str
    attempt: int
    outcome: str
    engine: str
    model: str  # name@version that really ran
    device: str
    work: Work  # measured; empty when nothing ran
    gpu_us: int  # compute time as the device measured it
    wall_us: int  # the attempt by the database's clock; 0 when nothing ran
    card_id: str  # fixed by the quote
    quoted: MicroTokens
    cached: bool = False  # served from the result cache: nothing is charged
    multipliers: tuple[Multiplier, ...] = ()  # fixed by the quote
    project: str | None = None
    api_key: str | None = None
    end_user: str | None = None


_ACCEPT = text(
    """
    WITH accepted AS (
        INSERT INTO billing.usage_record (
            job, tenant, project, api_key, end_user, attempt, outcome, engine, model, device,
            quantities, attributes, gpu_us, wall_us, card, card_version, quoted, cached,
            quarantined, multipliers, device_factor)
        VALUES (:job, :tenant, :project, :api_key, :end_user, :attempt, :outcome, :engine,
                :model, :device, CAST(:quantities AS jsonb), CAST(:attributes AS jsonb),
                :gpu_us, :wall_us, :card, :card_version, :quoted, :cached, :quarantined,
                CAST(:multipliers AS jsonb), :device_factor)
        ON CONFLICT (job) DO NOTHING RETURNING job
    )
    INSERT INTO billing.settlement_due (job) SELECT job FROM accepted RETURNING job
    """
)


def accept(session: Session, record: UsageRecord) -> bool:
    """Take a job's usage in; False when the job has a record already, which then stands.

    Compute times are turned into those of the reference device here, once: the record keeps the
    factor, so that the price does not depend on the machine that ran the job.

    Raises:
        InvalidWorkError: a quantity is not a finite number >= 0.
    """
    card, version = split_id(record.card_id)
    factor = factor_of(session, record.device) if record.gpu_us else Fraction(1)
    work = normalised(checked(record.work), factor)
    values = {
        "job": record.job,
        "tenant": record.tenant,
        "project": record.project,
        "api_key": record.api_key,
        "end_user": record.end_user,
        "attempt": record.attempt,
        "outcome": Outcome(record.outcome).value,
        "engine": record.engine,
        "model": record.model,
        "device": record.device,
        # A device's meter may count in numbers of its own kind, such as NumPy's.
        "quantities": json.dumps({name: _plain(n) for name, n in work.quantities.items()}),
        "attributes": json.dumps(dict(work.attributes)),
        "gpu_us": record.gpu_us,
        "wall_us": record.wall_us,
        "card": card,
        "card_version": version,
        "quoted": record.quoted,
        "cached": record.cached,
        "quarantined": impossible(gpu_us=record.gpu_us, wall_us=record.wall_us),
        "multipliers": json.dumps(multipliers_json(record.multipliers)),
        "device_factor": str(Decimal(factor.numerator) / factor.denominator),
    }
    return session.execute(_ACCEPT, values).scalar_one_or_none() is not None


def _plain(value: float) -> int | float:
    return value if isinstance(value, int) else float(value)


def unsettled(session: Session, *, limit: int) -> list[str]:
    """Jobs that wait for settlement, oldest id first, that no other worker is busy with.

    They stay locked until the transaction ends: settle them in the same one, by ``settle_many``.
    """
    waiting = (
        select(settlement_due.c.job)
        .order_by(settlement_due.c.job)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(session.scalars(waiting))


def impossible(*, gpu_us: int, wall_us: int) -> bool:
    """Whether a device claims more time than passed on the database's clock."""
    return gpu_us * 100 > wall_us * (100 + _TOLERANCE_PERCENT) + _TOLERANCE_US * 100


def bounded(work: Work, *, gpu_us: int, wall_us: int) -> Work:
    """The work with its compute times scaled down to the time that really passed."""
    return _scaled(work, min(1.0, wall_us / gpu_us) if gpu_us else 1.0)


def normalised(work: Work, factor: Fraction) -> Work:
    """The work with its compute times as the reference device would have taken."""
    return work if factor == 1 else _scaled(work, float(factor))


def _scaled(work: Work, share: float) -> Work:
    quantities: Mapping[str, float] = {
        name: round(value * share, 3) if name == "gpu_ms" or name.startswith("gpu_ms.") else value
        for name, value in work.quantities.items()
    }
    return replace(work, quantities=quantities)
