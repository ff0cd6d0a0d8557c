"""The fit: non-negative least squares of a card's terms against recorded compute time. Pure.

What a run cost us is its compute time on the reference device times a rate, tokens for a second.
Each term of the card, and each entry of its table, is one unknown. Rows are divided by what they
are predicted to cost, so that a small job counts as much as a large one: the aim is a price within
5 % of the cost. Not by what they did cost: noise would then pull every price down.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from math import prod
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from app.errors import InvalidRequestError
from billing.amounts import MICRO
from billing.errors import InvalidWorkError, UnknownPriceError
from billing.measured import MeasuredRun
from billing.rates import RateCard, Term, Work, evaluate

RUNS_MIN: Final = 20
HELD_OUT: Final = 5  # every fifth run is kept for the test
NEAR: Final = 0.05
ROUNDS: Final = 8  # the weights follow the fit; they settle after a few
PERCENTILES: Final = (5, 25, 50, 75, 95)
_DECIMALS: Final = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Unknown:
    """One number of the card: the tokens of a term, or an entry of its only table."""

    term: int
    attribute: str | None = None
    value: str | None = None

    def name(self, card: RateCard) -> str:
        """As a report calls it."""
        name = card.terms[self.term].name
        return name if self.value is None else f"{name}, {self.attribute} {self.value}"


@dataclass(frozen=True, slots=True)
class Fitted:
    """One number, before and after; ``runs`` had to do with it."""

    unknown: Unknown
    before: Fraction
    after: Fraction
    runs: int


@dataclass(frozen=True, slots=True)
class Errors:
    """How far prices are from costs, as shares of the cost."""

    percentiles: tuple[float, ...]  # those of PERCENTILES
    near: float  # share of the runs within 5 %
    runs: int


@dataclass(frozen=True, slots=True)
class Points:
    """Costs and prices in tokens, run by run, for a plot."""

    cost: NDArray[np.float64]
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    held_out: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The proposed card and how good it is on runs that it was not fitted to."""

    card: RateCard  # the one in force
    proposed: RateCard
    tokens_per_second: float
    fitted: tuple[Fitted, ...]
    before: Errors
    after: Errors
    points: Points


def calibrate(
    card: RateCard, runs: Sequence[MeasuredRun], *, tokens_per_second: float | None = None
) -> Calibration:
    """Fit the card; without a rate the one that earns what the card earns now.

    Raises:
        InvalidRequestError: code ``calibration_impossible``: too few runs, or none that costs.
    """
    usable = [run for run in runs if run.gpu_ms > 0 and _price(card, run.work) is not None]
    if len(usable) < RUNS_MIN:
        raise _impossible(
            f"{len(usable)} runs are recorded that this card prices; {RUNS_MIN} are needed"
        )
    before = np.array([_price(card, run.work) for run in usable], dtype=float)
    seconds = np.array([run.gpu_ms / 1000 for run in usable])
    rate = tokens_per_second or float(before.sum() / seconds.sum())
    if rate <= 0:
        raise _impossible("the card charges nothing for these runs; give --tokens-per-second")
    cost = seconds * rate
    held_out = np.array([_is_held_out(run.job) for run in usable])
    unknowns = _unknowns(card)
    matrix = np.array([[_amount(card, each, run.work) for each in unknowns] for run in usable])
    fitted = _fit(card, unknowns, matrix, cost, train=~held_out)
    proposed = _with(card, fitted)
    after = np.array([_price(proposed, run.work) or 0.0 for run in usable])
    test = held_out if held_out.any() else ~held_out
    return Calibration(
        card=card,
        proposed=proposed,
        tokens_per_second=rate,
        fitted=tuple(fitted),
        before=_errors(before[test], cost[test]),
        after=_errors(after[test], cost[test]),
        points=Points(cost, before, after, held_out),
    )


def _fit(
    card: RateCard,
    unknowns: Sequence[Unknown],
    matrix: NDArray[np.float64],
    cost: NDArray[np.float64],
    *,
    train: NDArray[np.bool_],
) -> list[Fitted]:
    """Numbers that no run has to do with stay as they are."""
    rows, costs = matrix[train], cost[train]
    seen = np.abs(rows).sum(axis=0) > 0
    solution = np.zeros(len(unknowns))
    weights = np.full(len(costs), 1 / costs.mean())
    for _ in range(ROUNDS if seen.any() else 0):
        solution[seen], _ = nnls(rows[:, seen] * weights[:, None], costs * weights)
        predicted = rows @ solution
        weights = 1 / np.maximum(predicted, costs.mean() / 1000)
    counts = (matrix != 0).sum(axis=0)
    fitted = []
    for index, unknown in enumerate(unknowns):
        now = _number(card, unknown)
        after = _rounded(solution[index]) if seen[index] else now
        fitted.append(Fitted(unknown, now, after, int(counts[index])))
    return fitted


def _unknowns(card: RateCard) -> list[Unknown]:
    found = []
    for index, term in enumerate(card.terms):
        table = _only_table(term)
        if table is None:
            found.append(Unknown(index))
        else:
            found += [Unknown(index, table, value) for value in term.tables[table]]
    return found


def _only_table(term: Term) -> str | None:
    return next(iter(term.tables)) if len(term.tables) == 1 else None


def _amount(card: RateCard, unknown: Unknown, work: Work) -> float:
    """What the price of the work gains for each token of this number."""
    term = card.terms[unknown.term]
    attributes = {name: str(value) for name, value in work.attributes.items()}
    quantity = work.quantities.get(term.quantity, 0)
    applies = all(attributes.get(name) in values for name, values in term.when.items())
    if not quantity or not applies:
        return 0.0
    if unknown.attribute is not None and attributes.get(unknown.attribute) != unknown.value:
        return 0.0
    tables = [
        float(table[attributes[name]])
        for name, table in term.tables.items()
        if name != unknown.attribute
    ]
    factors = prod(_factor(name, work) for name in term.multiply) * prod(tables)
    divisors = prod(_factor(name, work) for name in term.divide) * float(term.over)
    amount = quantity * factors / divisors
    return -amount if term.rebate else amount


def _factor(name: str, work: Work) -> float:
    found = work.quantities.get(name, work.attributes.get(name, 0))
    return float(found)


def _number(card: RateCard, unknown: Unknown) -> Fraction:
    """The number as it is in the card: tokens for one unit."""
    term = card.terms[unknown.term]
    if unknown.attribute is None or unknown.value is None:
        return term.tokens
    return term.tokens * term.tables[unknown.attribute][unknown.value]


def _with(card: RateCard, fitted: Sequence[Fitted]) -> RateCard:
    """The next version with the fitted numbers; a table's entries are multiples of its tokens."""
    terms = list(card.terms)
    for each in fitted:
        term = terms[each.unknown.term]
        attribute, value = each.unknown.attribute, each.unknown.value
        if attribute is None or value is None:
            terms[each.unknown.term] = replace(term, tokens=each.after)
            continue
        entry = each.after / term.tokens if term.tokens else each.after
        table = {**term.tables[attribute], value: _rounded(float(entry))}
        terms[each.unknown.term] = replace(term, tables={**term.tables, attribute: table})
    return replace(card, version=card.version + 1, terms=tuple(terms))


def _price(card: RateCard, work: Work) -> float | None:
    try:
        return evaluate(card, work).amount / MICRO
    except (UnknownPriceError, InvalidWorkError):
        return None


def _errors(price: NDArray[np.float64], cost: NDArray[np.float64]) -> Errors:
    shares = price / cost - 1
    return Errors(
        percentiles=tuple(float(value) for value in np.percentile(shares, PERCENTILES)),
        near=float((np.abs(shares) <= NEAR).mean()),
        runs=len(shares),
    )


def _is_held_out(job: str) -> bool:
    """The same runs are held out each time, whatever was recorded since."""
    return hashlib.sha256(job.encode()).digest()[0] % HELD_OUT == 0


def _rounded(value: float) -> Fraction:
    """As a card can say it."""
    return Fraction(Decimal(repr(float(value))).quantize(_DECIMALS))


def _impossible(detail: str) -> InvalidRequestError:
    return InvalidRequestError(
        f"The card cannot be calibrated: {detail}.", code="calibration_impossible"
    )
