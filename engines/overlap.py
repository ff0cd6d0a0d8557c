"""Many items through prepare, infer and finish, so that the network never waits for a decoder.

Two manners, by what the device can do:

* several lanes (a CPU): every lane takes one item at a time through all three stages. Networks
  of one thread side by side beat one network of all threads: between the stages nothing waits.
* one lane (a GPU): the calling thread runs the network on up to ``step`` prepared items, while a
  pool of threads prepares the next ones and finishes the last ones.

Outcomes come in the order of the items; what a stage raises is the outcome of its item alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Raw = TypeVar("Raw")
Done = TypeVar("Done")

# Decoders hold the interpreter for a part of their time. Beside an H200, detection drained 245
# pictures a second with 4 threads, 216 with 8 and 184 with 16 (a host of 16 cores).
_BESIDE_MAX = 4


@dataclass(frozen=True, slots=True)
class Stages(Generic[Item, Ready, Raw, Done]):
    """What is done to an item. ``prepare`` and ``finish`` are called from several threads."""

    prepare: Callable[[Item], Ready]
    lanes: Sequence[Callable[[Sequence[Ready]], Sequence[Raw]]]  # each from one thread at a time
    finish: Callable[[Ready, Raw], Done]
    step: int = 1  # items per call of the one lane


def run_overlapped(
    items: Iterable[Item], stages: Stages[Item, Ready, Raw, Done], *, threads: int
) -> Iterator[Done | Exception]:
    """One outcome for each item, in order.

    ``items`` is read by the calling thread, at most four rounds (of lanes or steps)
    ahead of what was yielded.
    ``threads`` is for the pool beside a single lane, which takes at most four of them; several
    lanes have one thread each.
    """
    if len(stages.lanes) > 1:
        yield from _side_by_side(items, stages)
    else:
        yield from _in_steps(items, stages, min(threads, _BESIDE_MAX))


def _side_by_side(
    items: Iterable[Item], stages: Stages[Item, Ready, Raw, Done]
) -> Iterator[Done | Exception]:
    free: SimpleQueue[Callable[[Sequence[Ready]], Sequence[Raw]]] = SimpleQueue()
    for lane in stages.lanes:
        free.put(lane)

    def whole(item: Item) -> Done:
        ready = stages.prepare(item)
        lane = free.get()  # there are as many lanes as threads
        try:
            [raw] = lane([ready])
        finally:
            free.put(lane)
        return stages.finish(ready, raw)

    ahead = 2 * len(stages.lanes)
    begun: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(len(stages.lanes), "lane") as pool:
        try:
            for item in items:
                begun.append(pool.submit(whole, item))
                while begun and (begun[0].done() or len(begun) >= ahead):
                    yield _outcome(begun.popleft())
            while begun:
                yield _outcome(begun.popleft())
        finally:
            _drop(begun)


def _in_steps(
    items: Iterable[Item], stages: Stages[Item, Ready, Raw, Done], threads: int
) -> Iterator[Done | Exception]:
    source, ahead = iter(items), 2 * stages.step
    preparing: deque[Future[Ready]] = deque()
    finishing: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(threads, "beside") as pool:

        def fill() -> None:
            while len(preparing) < ahead:
                try:
                    item = next(source)
                except StopIteration:
                    return
                preparing.append(pool.submit(stages.prepare, item))

        try:
            fill()
            while preparing:
                group = [preparing.popleft() for _ in range(min(stages.step, len(preparing)))]
                fill()  # the pool is busy with these while the network runs
                finishing.extend(_run_group(group, stages, pool))
                while finishing and (finishing[0].done() or len(finishing) >= stages.step):
                    yield _outcome(finishing.popleft())
            while finishing:
                yield _outcome(finishing.popleft())
        finally:
            _drop(preparing)
            _drop(finishing)


def _run_group(
    group: Sequence[Future[Ready]], stages: Stages[Item, Ready, Raw, Done], pool: ThreadPoolExecutor
) -> list[Future[Done]]:
    """Infer what could be prepared and hand it on; what could not keeps its error."""
    ready = [each.result() for each in group if each.exception() is None]
    answers = iter(_inferred(ready, stages.lanes[0]))
    futures: list[Future[Done]] = []
    for each in group:
        answer = each.exception() or next(answers)
        if isinstance(answer, BaseException):
            failed: Future[Done] = Future()
            failed.set_exception(answer)
            futures.append(failed)
        else:
            futures.append(pool.submit(stages.finish, each.result(), answer))
    return futures


def _inferred(
    ready: Sequence[Ready], lane: Callable[[Sequence[Ready]], Sequence[Raw]]
) -> list[Raw | Exception]:
    """The network's answer for each; when a group fails, each runs alone to find the culprit."""
    if not ready:
        return []
    try:
        return list(lane(ready))
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the items
        if len(ready) == 1:
            return [error]
    return [answer for each in ready for answer in _inferred([each], lane)]


def _outcome(future: Future[Any]) -> Any:  # noqa: ANN401 - mypy mistakes what yield wants
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, Exception):
        return error
    raise error


def _drop(futures: Iterable[Future[Ready]]) -> None:
    for future in futures:
        future.cancel()
