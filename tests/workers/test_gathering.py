"""Who may be taken along: the order of the dispatcher, and nobody of a better class overtaken."""

from dataclasses import replace

from app.jobs.states import Priority
from engines.spec import InputMedia, MediaInfo, MediaKind
from tests.workers.dispatch.test_selection import job, share
from workers.dispatch.selection import TenantShare
from workers.gathering import ROOM, Gathered, Waiting, choose

PICTURE = InputMedia(MediaInfo(MediaKind.IMAGE, "image/png", 100, 64, 64))


def waiting(number: int, tenant: str = "a", *, model: str = "n@1", **facts: object) -> Waiting:
    is_published = bool(facts.pop("published", False))
    candidate = job(number, tenant, **facts)  # type: ignore[arg-type]
    return Waiting(candidate, is_published, model, {}, PICTURE)


def gather(jobs: list[Waiting], shares: dict[str, TenantShare] | None = None) -> Gathered:
    return choose(
        jobs,
        shares=shares or {each.candidate.tenant_id: share() for each in jobs},
        is_compatible=lambda each: each.model == "n@1",
    )


def numbers(gathered: Gathered) -> list[int]:
    return [int(job_id.removeprefix("job_")) for job_id in gathered.jobs]


def test_compatible_jobs_are_taken_in_order_up_to_the_room() -> None:
    assert numbers(gather([waiting(n) for n in range(20)])) == list(range(ROOM))


def test_others_are_passed_over() -> None:
    jobs = [waiting(0), waiting(1, model="s@1"), waiting(2), waiting(3, model="s@1")]
    assert numbers(gather(jobs)) == [0, 2]


def test_tenants_take_turns_and_their_clocks_move() -> None:
    jobs = [waiting(n) for n in range(20)] + [waiting(100 + n, "b") for n in range(20)]
    gathered = gather(jobs)
    assert sum(number >= 100 for number in numbers(gathered)) == ROOM // 2
    assert gathered.virtual_times == {"a": ROOM / 2, "b": ROOM / 2}


def test_a_tenant_far_ahead_is_not_served_while_others_wait() -> None:
    jobs = [waiting(n) for n in range(20)] + [waiting(100 + n, "b", model="s@1") for n in range(20)]
    shares = {"a": share(50.0, in_flight=1), "b": share(0.0, in_flight=1)}
    assert numbers(gather(jobs, shares)) == []


def test_no_better_class_is_overtaken() -> None:
    crowd = [waiting(n, priority=Priority.BULK) for n in range(20)]
    pressing = waiting(100, "b", model="s@1", priority=Priority.INTERACTIVE)
    assert numbers(gather([*crowd, pressing])) == []
    compatible = waiting(101, "b", priority=Priority.INTERACTIVE)
    assert numbers(gather([*crowd, compatible]))[0] == 101


def test_within_a_class_a_job_that_does_not_fit_is_passed_over_and_worse_classes_are_not() -> None:
    jobs = [
        waiting(0, model="s@1"),
        waiting(1),
        waiting(2, priority=Priority.BULK),
        waiting(3, priority=Priority.BULK),
    ]
    assert numbers(gather(jobs)) == [1]


def test_a_tenant_at_its_limit_gets_no_more() -> None:
    jobs = [waiting(n) for n in range(5)]
    assert numbers(gather(jobs, {"a": share(in_flight=98, limit=100)})) == [0, 1]


def test_a_job_that_was_tried_before_is_not_taken_along() -> None:
    tried = waiting(0)
    tried = replace(tried, candidate=replace(tried.candidate, attempt=1))
    assert numbers(gather([tried, waiting(1)])) == [1]


def test_jobs_on_the_broker_were_paid_for_when_they_were_published() -> None:
    jobs = [waiting(0, published=True), waiting(1)]
    gathered = gather(jobs)
    assert numbers(gathered) == [0, 1]
    assert gathered.virtual_times == {"a": 1.0}
