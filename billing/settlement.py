"""Settle a job: rate what was measured, capture at most the hold, release the rest. Once.

Failed and expired jobs and cached results cost nothing; a canceled job costs the work measured
until then. A price above the hold is captured up to the hold and the excess is absorbed. The
charge keeps the quantities and the card version, so it recomputes forever.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache

from sqlalchemy import RowMapping, delete, text
from sqlalchemy.orm import Session

from billing import ledger
from billing.amounts import MicroTokens
from billing.card_data import read_card
from billing.errors import InvalidWorkError, UnknownPriceError
from billing.multipliers import read_multipliers
from billing.rates import Line, Multiplier, Price, RateCard, Work, evaluate
from billing.tables import settlement_due
from billing.usage import Outcome, bounded

_FREE = Price(MicroTokens(0), ())


class ChargeStatus(StrEnum):
    """Whether the measured work could be taken as it came."""

    SETTLED = "settled"  # yes
    QUARANTINED = "quarantined"  # impossible compute time: charged for the time that passed
    LATE = "late"  # its hold had been given back: charged from what was available
    UNPRICED = "unpriced"  # the card cannot price what was measured: charged nothing, look at it


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of the hold: charged + released is its amount."""

    job: str
    tenant: str
    outcome: str
    status: ChargeStatus
    charged: MicroTokens
    released: MicroTokens
    absorbed: MicroTokens  # the part of the price above the hold
    available_after: MicroTokens
    lines: tuple[Line, ...]
    card_id: str
    cached: bool


_PENDING = text(
    """
    SELECT u.job, u.tenant, u.outcome, u.cached, u.quarantined, u.quantities::text AS quantities,
           u.attributes::text AS attributes,
           u.multipliers::text AS multipliers, u.gpu_us, u.wall_us, u.card, u.card_version,
           c.body::text AS body,
           EXISTS (SELECT FROM billing.charge x WHERE x.job = u.job) AS charged
      FROM billing.usage_record u
      JOIN billing.rate_card_version c ON c.card = u.card AND c.version = u.card_version
      JOIN billing.hold h ON h.job = u.job
     WHERE u.job = ANY(:jobs)
     ORDER BY h.wallet, u.job
    """
)


@dataclass(frozen=True, slots=True)
class _PriceFacts:
    """Everything that a price depends on; what has many parts is JSON."""

    body: str  # of the card
    card: str
    version: int
    outcome: str
    cached: bool
    quantities: str
    attributes: str
    multipliers: str


@dataclass(frozen=True, slots=True)
class _Judged:
    """A record with its price, before anything is locked or moved."""

    record: RowMapping
    price: Price
    rated: ledger.Rated


def settle(session: Session, *, job: str, now: datetime | None = None) -> Settlement | None:
    """Settle one job in the caller's transaction; ``now`` defaults to the database's clock.

    Returns:
        None when there is nothing to settle: no usage record yet, or somebody settled it.
    """
    settled = settle_many(session, jobs=[job], now=now)
    return settled[0] if settled else None


def settle_many(
    session: Session, *, jobs: Sequence[str], now: datetime | None = None
) -> list[Settlement]:
    """Settle jobs in one transaction: all are priced first, then one statement moves the tokens.

    The result is that of settling one by one in the order of wallets and ids. The wallets stay
    locked until the caller's transaction ends: commit soon.
    """
    pending = session.execute(_PENDING, {"jobs": list(jobs)}).mappings().all()
    _forget(session, [record["job"] for record in pending if record["charged"]])
    judged = [_judge(record) for record in pending if not record["charged"]]
    if not judged:
        return []
    moved = ledger.book_settlements(session, rated=[each.rated for each in judged], now=now)
    return [_settlement(each, moved[each.rated.job]) for each in judged if each.rated.job in moved]


def rate_or_free(
    card: RateCard,
    work: Work,
    *,
    outcome: str,
    cached: bool,
    multipliers: Sequence[Multiplier] = (),
) -> tuple[Price, bool]:
    """What a job that ended so costs, and whether the card could price it."""
    if cached or Outcome(outcome) in {Outcome.FAILED, Outcome.EXPIRED}:
        return _FREE, True
    try:
        return evaluate(card, work, multipliers), True
    except (UnknownPriceError, InvalidWorkError):
        # The quote was priced by this very card, so the meter is at fault, not the customer.
        return _FREE, False


@lru_cache(maxsize=64)
def published_card(body: str, card: str, version: int) -> RateCard:
    """A published version from its JSON; parsed once per process, as it never changes."""
    return read_card(json.loads(body), card=card, version=version)


def line_json(line: Line) -> dict[str, str | int | float]:
    """A line as a charge keeps it."""
    return {
        "name": line.name,
        "quantity": line.quantity,
        "unit": line.unit,
        "tokens": line.tokens,
    }


def _forget(session: Session, charged: list[str]) -> None:
    """Take jobs off the work list that somebody settled before."""
    if charged:
        session.execute(delete(settlement_due).where(settlement_due.c.job.in_(charged)))


def _settlement(judged: _Judged, moved: RowMapping) -> Settlement:
    record = judged.record
    return Settlement(
        job=record["job"],
        tenant=record["tenant"],
        outcome=record["outcome"],
        status=ChargeStatus(moved["status"]),
        charged=moved["charged"],
        released=moved["released"],
        absorbed=moved["absorbed"],
        available_after=moved["available_after"],
        lines=judged.price.lines,
        card_id=f"{record['card']}@{record['card_version']}",
        cached=record["cached"],
    )


def _judge(record: RowMapping) -> _Judged:
    """The work that counts, its price, and whether anything about it was odd."""
    status, quantities = ChargeStatus.SETTLED, None
    if record["quarantined"]:
        measured = Work(json.loads(record["quantities"]))
        work = bounded(measured, gpu_us=record["gpu_us"], wall_us=record["wall_us"])
        status, quantities = ChargeStatus.QUARANTINED, json.dumps(dict(work.quantities))
    facts = _PriceFacts(
        body=record["body"],
        card=record["card"],
        version=record["card_version"],
        outcome=record["outcome"],
        cached=record["cached"],
        quantities=quantities or record["quantities"],
        attributes=record["attributes"],
        multipliers=record["multipliers"],
    )
    price, priced, lines = _priced(facts)
    rated = ledger.Rated(
        job=record["job"],
        price=price.amount,
        status=(status if priced else ChargeStatus.UNPRICED).value,
        quantities=quantities,
        lines=lines,
    )
    return _Judged(record, price, rated)


@lru_cache(maxsize=4096)
def _priced(facts: _PriceFacts) -> tuple[Price, bool, str]:
    """The price, whether the card could price it, and its lines as JSON.

    Kept, because it is half of what a settlement costs, most jobs of a tenant are alike, and it
    follows from the facts alone.
    """
    price, priced = rate_or_free(
        published_card(facts.body, facts.card, facts.version),
        Work(json.loads(facts.quantities), json.loads(facts.attributes)),
        outcome=facts.outcome,
        cached=facts.cached,
        multipliers=read_multipliers(json.loads(facts.multipliers)),
    )
    return price, priced, json.dumps([line_json(line) for line in price.lines])
