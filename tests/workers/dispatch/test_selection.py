from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.jobs.states import Priority
from workers.dispatch.selection import Candidate, TenantShare, effective_priority, select


def job(
    number: int,
    tenant: str = "a",
    *,
    priority: Priority = Priority.NORMAL,
    engine: str = "detect",
    waited_s: float = 0.0,
    ms: int = 1000,
) -> Candidate:
    return Candidate(
        job_id=f"job_{number:05}",
        tenant_id=tenant,
        engine=engine,
        priority=priority,
        attempt=0,
        waited_s=waited_s,
        estimated_ms=ms,
        max_runtime_s=None,
    )


def share(
    virtual_time: float = 0.0, *, weight: int = 1, in_flight: int = 0, limit: int = 100
) -> TenantShare:
    return TenantShare(virtual_time, weight, in_flight, limit)


def chosen(candidates: list[Candidate], shares: dict[str, TenantShare], slots: int) -> list[str]:
    selection = select(candidates, shares=shares, free_slots={"detect": slots})
    return [candidate.job_id for candidate, _ in selection.chosen]


def test_jobs_of_one_tenant_keep_their_order() -> None:
    assert chosen([job(1), job(2), job(3)], {"a": share()}, 2) == ["job_00001", "job_00002"]


def test_a_hundred_thousand_jobs_do_not_delay_another_tenants_first() -> None:
    crowd = [job(number) for number in range(1000)]
    newcomer = job(5000, "b")
    shares = {"a": share(50.0, in_flight=2), "b": share(0.0)}
    assert "job_05000" in chosen([*crowd, newcomer], shares, 2)


def test_idle_time_is_not_saved_up() -> None:
    jobs = [job(n) for n in range(100)] + [job(1000 + n, "b") for n in range(100)]
    shares = {"a": share(1_000_000.0, in_flight=1), "b": share(0.0)}
    counts = Counter(name[4:5] + name[5:6] for name in chosen(jobs, shares, 20))
    assert counts == {"00": 10, "01": 10}


def test_a_higher_class_goes_first_whoever_waits() -> None:
    jobs = [job(1, waited_s=59), job(2, "b", priority=Priority.INTERACTIVE)]
    assert chosen(jobs, {"a": share(), "b": share(100.0)}, 1) == ["job_00002"]


@pytest.mark.parametrize(
    ("priority", "waited_s", "effective"),
    [
        (Priority.INTERACTIVE, 1e9, Priority.INTERACTIVE),
        (Priority.NORMAL, 60, Priority.NORMAL),
        (Priority.NORMAL, 61, Priority.INTERACTIVE),
        (Priority.BULK, 601, Priority.NORMAL),
        (Priority.BULK, 661, Priority.INTERACTIVE),
        (Priority.NIGHTLY, 6 * 3600, Priority.NIGHTLY),
        (Priority.NIGHTLY, 6 * 3600 + 1, Priority.BULK),
        (Priority.NIGHTLY, 1e9, Priority.INTERACTIVE),
    ],
)
def test_waiting_moves_a_job_up(priority: Priority, waited_s: float, effective: Priority) -> None:
    assert effective_priority(priority, waited_s) is effective


def test_the_message_carries_the_class_after_ageing() -> None:
    selection = select(
        [job(1, priority=Priority.BULK, waited_s=601)],
        shares={"a": share()},
        free_slots={"detect": 1},
    )
    assert selection.chosen[0][1] is Priority.NORMAL


def test_a_tenant_at_its_limit_waits_and_others_go() -> None:
    jobs = [job(1), job(2), job(3, "b")]
    shares = {"a": share(in_flight=4, limit=5), "b": share(1e6)}
    assert chosen(jobs, shares, 10) == ["job_00001", "job_00003"]


def test_weight_is_the_share_of_the_gpu() -> None:
    jobs = [job(n) for n in range(100)] + [job(1000 + n, "b") for n in range(100)]
    picked = chosen(jobs, {"a": share(weight=3), "b": share()}, 40)
    counts = Counter("b" if name >= "job_01000" else "a" for name in picked)
    assert counts == {"a": 30, "b": 10}


def test_an_engine_without_slots_holds_up_no_other() -> None:
    jobs = [job(1, engine="colorize"), job(2)]
    selection = select(jobs, shares={"a": share()}, free_slots={"detect": 1})
    assert [each.job_id for each, _ in selection.chosen] == ["job_00002"]


def test_only_the_clocks_of_served_tenants_move() -> None:
    selection = select(
        [job(1, ms=2500), job(2, "b")],
        shares={"a": share(1.0, weight=5), "b": share(9.0)},
        free_slots={"detect": 1},
    )
    assert selection.virtual_times == {"a": 1.5}


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abc"),
            st.sampled_from(Priority),
            st.sampled_from(["detect", "colorize"]),
            st.integers(1, 60_000),
            st.floats(0, 1e5),
        ),
        max_size=40,
    ),
    st.integers(0, 10),
    st.integers(0, 10),
)
def test_a_selection_never_exceeds_slots_or_limits_and_wastes_none(
    rows: list[tuple[str, Priority, str, int, float]], detect: int, colorize: int
) -> None:
    jobs = [
        job(n, tenant, priority=priority, engine=engine, ms=ms, waited_s=waited_s)
        for n, (tenant, priority, engine, ms, waited_s) in enumerate(rows)
    ]
    shares = {tenant: share(limit=6, in_flight=1) for tenant in "abc"}
    slots = {"detect": detect, "colorize": colorize}
    picked = [each for each, _ in select(jobs, shares=shares, free_slots=slots).chosen]
    engines = Counter(each.engine for each in picked)
    tenants = Counter(each.tenant_id for each in picked)
    assert len({each.job_id for each in picked}) == len(picked)
    assert all(engines[engine] <= slots[engine] for engine in slots)
    assert all(count <= 5 for count in tenants.values())
    for left in set(jobs) - set(picked):
        assert engines[left.engine] == slots[left.engine] or tenants[left.tenant_id] == 5
