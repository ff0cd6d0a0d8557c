import threading

import pytest

from engines.overlap import Stages, run_overlapped


class Work:
    """Counts what happens where; prepares text, infers its length, finishes with both."""

    def __init__(self, *, lanes=1, step=1):
        self.threads, self.calls = {}, []
        self.lock = threading.Lock()
        self.active = self.most_active = 0
        self.stages = Stages(self.prepare, [self.infer] * lanes, self.finish, step)

    def prepare(self, item):
        if item == "unreadable":
            raise ValueError(item)
        return item

    def infer(self, ready):
        with self.lock:
            self.active += 1
            self.most_active = max(self.most_active, self.active)
            self.calls.append(list(ready))
        try:
            if "poison" in ready:
                raise ArithmeticError("poison")
            threading.Event().wait(0.002)
            return [len(each) for each in ready]
        finally:
            with self.lock:
                self.active -= 1

    def finish(self, ready, raw):
        if ready == "unwritable":
            raise OSError(ready)
        return (ready, raw)


def outcomes(work, items, threads=2):
    return list(run_overlapped(items, work.stages, threads=threads))


MANNERS = pytest.mark.parametrize(("lanes", "step"), [(1, 1), (1, 4), (3, 1)])


@MANNERS
def test_outcomes_come_in_the_order_of_the_items(lanes, step):
    items = ["x" * (number % 7) for number in range(50)]
    found = outcomes(Work(lanes=lanes, step=step), items)
    assert found == [(item, len(item)) for item in items]


@MANNERS
def test_an_item_that_fails_in_any_stage_fails_alone(lanes, step):
    items = ["a", "unreadable", "b", "poison", "c", "unwritable", "d"]
    found = outcomes(Work(lanes=lanes, step=step), items)
    kinds = [type(each).__name__ for each in found]
    assert kinds == ["tuple", "ValueError", "tuple", "ArithmeticError", "tuple", "OSError", "tuple"]


@MANNERS
def test_no_items_are_no_outcomes(lanes, step):
    assert outcomes(Work(lanes=lanes, step=step), []) == []


def test_one_lane_runs_full_steps_and_a_last_one_that_is_not():
    work = Work(step=4)
    outcomes(work, ["x"] * 10)
    assert [len(call) for call in work.calls] == [4, 4, 2]
    assert work.most_active == 1


def test_a_failed_step_is_run_again_one_by_one():
    work = Work(step=4)
    outcomes(work, ["a", "poison", "b", "c"])
    assert [len(call) for call in work.calls] == [4, 1, 1, 1, 1]


def test_several_lanes_run_at_the_same_time():
    work = Work(lanes=3)
    outcomes(work, ["x"] * 30)
    assert work.most_active == 3


@MANNERS
def test_items_are_read_only_a_little_ahead_of_the_outcomes(lanes, step):
    read = []

    def endless():
        while True:
            read.append(1)
            yield "x"

    ahead = 4 * max(lanes, step)
    running = run_overlapped(endless(), Work(lanes=lanes, step=step).stages, threads=2)
    for number in range(1, 20):
        next(running)
        assert len(read) <= number + ahead
    running.close()


@MANNERS
def test_leaving_early_stops_what_has_not_begun_and_ends_the_threads(lanes, step):
    before = threading.active_count()
    running = run_overlapped(["x"] * 40, Work(lanes=lanes, step=step).stages, threads=2)
    next(running)
    running.close()
    assert threading.active_count() == before


@MANNERS
def test_an_interrupt_is_no_outcome(lanes, step):
    def interrupted(item):
        raise KeyboardInterrupt

    work = Work(lanes=lanes, step=step)
    stages = Stages(interrupted, work.stages.lanes, work.finish, step)
    with pytest.raises(KeyboardInterrupt):
        list(run_overlapped(["x"], stages, threads=1))
