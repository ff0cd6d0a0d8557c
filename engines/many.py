"""Many runs through any engine: together where the engine can, else one after another."""

from collections.abc import Hashable, Iterable, Iterator
from itertools import groupby

from engines.errors import EngineError
from engines.spec import BatchEngine, Engine, Outcome, RunItem


def run_items(engine: Engine, items: Iterable[RunItem]) -> Iterator[Outcome]:
    """One outcome for each item, in order: its result, or what its run raised.

    Neighbours of an equal ``batch_key`` run together. Items may be any number: only a few are
    held at a time.
    """
    for key, group in groupby(items, lambda item: batch_key(engine, item)):
        if key is not None and isinstance(engine, BatchEngine):
            yield from engine.run_many(group)
        else:
            for item in group:
                yield run_alone(engine, item)


def batch_key(engine: Engine, item: RunItem) -> Hashable | None:
    """What an item can run together with; None for an engine or an item that runs alone."""
    if not isinstance(engine, BatchEngine):
        return None
    try:
        return engine.batch_key(item.model, item.params, item.media)
    except EngineError:
        return None  # its run will say what is wrong with it


def run_alone(engine: Engine, item: RunItem) -> Outcome:
    """The outcome of one item by itself."""
    try:
        return engine.run(item.model, item.params, item.files, item.context)
    except Exception as error:  # noqa: BLE001 - the error is the outcome
        return error
