"""Many attempts as one run: the engine takes the next picture while it works on the last ones.

Each job keeps its own lease, fence, cancel, end and usage record; what they share is the network.
"""

from collections import deque
from collections.abc import Hashable, Iterator

from pydantic import ValidationError

from app.jobs.states import JobStatus
from engines.errors import EngineError
from engines.spec import BatchEngine, EngineResult, InputMedia, Outcome, RunItem
from workers.attempt import Attempt, begin
from workers.conclusion import Conclusions
from workers.from_cache import earlier_result
from workers.gathering import Gatherer
from workers.services import Services
from workers.verdict import judge


def batch_key(
    services: Services, engine: str, model: str, params: object, media: InputMedia | None
) -> Hashable | None:
    """What a job can run together with; None when it runs alone, or its run will say what is wrong.

    Touches neither pixels nor weights.
    """
    if media is None:
        return None
    try:
        found = services.registry.engine(engine)
        if not isinstance(found, BatchEngine):
            return None
        version = services.registry.resolve(engine, model)
        return found.batch_key(version, found.params_model.model_validate(params), media)
    except (EngineError, ValidationError):
        return None


def run_together(
    services: Services, engine: BatchEngine, first: Attempt, gatherer: Gatherer
) -> JobStatus | None:
    """Run the first attempt and whatever can be gathered meanwhile; what the first one came to.

    One that fails or is canceled fails alone.
    """
    under_way: deque[Attempt] = deque()
    conclusions = Conclusions(services)
    items = _items(services, first, gatherer, under_way, conclusions)
    try:
        for outcome in _outcomes(engine, items, under_way):
            conclude_next(under_way.popleft(), outcome, conclusions)
        conclusions.flush()
    finally:
        for attempt in under_way:  # their leases run out: they are found and run again
            attempt.close()
        conclusions.abandon()
    return conclusions.statuses.get(first.claimed.job_id)


def conclude_next(attempt: Attempt, outcome: Outcome, conclusions: Conclusions) -> None:
    """Judge an outcome and hand it to be written."""

    def unwrap() -> EngineResult:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    conclusions.add(attempt, judge(unwrap, stop_reason=lambda: attempt.lease.stop_reason))


def _items(
    services: Services,
    first: Attempt,
    gatherer: Gatherer,
    under_way: deque[Attempt],
    conclusions: Conclusions,
) -> Iterator[RunItem]:
    """The items of all attempts, as the engine asks for them; each is under way from then on."""
    for attempt in _attempts(services, first, gatherer):
        if (copied := earlier_result(services, attempt)) is not None:
            conclusions.add(attempt, copied)
            continue
        try:
            item = attempt.item(services)
        except (EngineError, ValidationError) as error:
            conclude_next(attempt, error, conclusions)
            continue
        under_way.append(attempt)
        yield item


def _attempts(services: Services, first: Attempt, gatherer: Gatherer) -> Iterator[Attempt]:
    yield first
    while taken := gatherer.take():
        # Begun at once, whenever the engine gets to them: their leases run from the claim on.
        yield from [begin(services, each) for each in taken]


def _outcomes(
    engine: BatchEngine, items: Iterator[RunItem], under_way: deque[Attempt]
) -> Iterator[Outcome]:
    """What breaks the engine itself is the outcome of everything that is under way."""
    try:
        yield from engine.run_many(items)
    except Exception as error:  # noqa: BLE001 - it is judged and logged like any other
        yield from [error] * len(under_way)
