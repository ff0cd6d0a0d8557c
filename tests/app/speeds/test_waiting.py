"""How long a new job waits: classes, fairness between tenants, running work, workers."""

import pytest

from app.speeds.waiting import Load, Situation, wait_s

SLOTS = {("detect", "colorize"): 2}


def load(tenant="a", *, priority="normal", seconds=10.0, running=False, model="m@1"):
    return Load(tenant, priority, "detect", model, running, seconds)


def wait(*loads, slots=None, tenant="a", priority="normal", own_s=4.0, pace=None):
    situation = Situation(loads, SLOTS if slots is None else slots)
    return wait_s(
        situation, tenant_id=tenant, priority=priority, engine="detect", own_s=own_s,
        pace=pace or {},
    )  # fmt: skip


def test_an_idle_platform_starts_at_once():
    assert wait() == 0
    assert wait(load(running=True)) == 0


def test_without_a_worker_nobody_can_say():
    assert wait(slots={}) is None
    assert wait(slots={("colorize",): 1}) is None


def test_own_and_better_work_goes_first_and_is_shared_by_the_slots():
    assert wait(load(seconds=10)) == 5
    assert wait(load("b", priority="interactive", seconds=30)) == 15
    assert wait(load(priority="bulk", seconds=1000)) == 0


def test_a_tenant_with_a_long_queue_delays_another_by_its_own_work_only():
    assert wait(load("b", seconds=10_000), own_s=4) == 2
    assert wait(load("b", seconds=10_000), load(seconds=6), own_s=4) == (6 + 10) / 2


def test_running_work_is_half_done_on_the_average():
    loads = [load(running=True, seconds=8), load(running=True, seconds=8), load(seconds=2)]
    assert wait(*loads) == pytest.approx((2 + 8) / 2)


def test_rough_estimates_are_corrected_by_the_measured_pace():
    assert wait(load(seconds=10), pace={("detect", "m@1"): 0.1}) == pytest.approx(0.5)
