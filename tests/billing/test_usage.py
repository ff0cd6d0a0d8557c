import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from billing.errors import InvalidWorkError, UnknownPriceError
from billing.rates import Work
from billing.settlement import settle
from billing.usage import bounded, impossible, unsettled
from tests.billing.till import NOW


def test_a_job_has_one_usage_record(till):
    till.give(10)
    till.hold("a", 7)
    assert till.end("a", images=1)
    assert not till.end("a", images=5)
    settle(till.session, job="a", now=NOW)
    assert not till.end("a", images=5)
    assert unsettled(till.session, limit=10) == []


def test_a_meter_may_count_in_numpys_numbers(till):
    till.give(10)
    till.hold("a", 7)
    till.end("a", work=Work({"images": np.int64(3), "gpu_ms": np.float32(1.5)}, {"media": "image"}))
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.lines[0].quantity) == (3_000_000, 3)


def test_usage_waits_until_it_is_settled(till):
    till.give(10)
    for job in ("b", "a", "c"):
        till.hold(job, 1)
        till.end(job)
    assert unsettled(till.session, limit=2) == ["a", "b"]
    settle(till.session, job="a", now=NOW)
    assert unsettled(till.session, limit=9) == ["b", "c"]


def test_two_billing_workers_never_get_the_same_job(till_to_commit, sessions):
    till_to_commit.give(10)
    for job in ("a", "b"):
        till_to_commit.hold(job, 1)
        till_to_commit.end(job)
    till_to_commit.session.commit()
    with sessions() as one, sessions() as other:
        assert unsettled(one, limit=1) == ["a"]
        assert unsettled(other, limit=9) == ["b"]


def test_usage_of_a_job_that_was_never_held_for_is_refused(till):
    with pytest.raises(IntegrityError):
        till.end("stranger")


def test_usage_under_an_unknown_card_is_refused(till):
    till.hold("a", 0)
    with pytest.raises(UnknownPriceError):
        till.end("a", card_id="nonsense")
    with pytest.raises(IntegrityError):
        till.end("a", card_id="flat@99")


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), True])
def test_impossible_quantities_are_refused(till, value):
    till.hold("a", 0)
    with pytest.raises(InvalidWorkError):
        till.end("a", work=Work({"images": value}))


@pytest.mark.parametrize(
    ("gpu_us", "wall_us", "verdict"),
    [
        (0, 0, False),
        (50_000, 0, False),
        (50_001, 0, True),
        (1_100_000, 1_000_000, False),
        (1_100_001, 1_000_000, True),
    ],
)
def test_compute_time_is_bounded_by_the_time_that_passed(gpu_us, wall_us, verdict):
    assert impossible(gpu_us=gpu_us, wall_us=wall_us) is verdict


def test_bounding_scales_compute_times_and_nothing_else():
    work = Work({"images": 3, "gpu_ms": 90.0, "gpu_ms.swap": 60.0}, {"media": "image"})
    assert bounded(work, gpu_us=90_000, wall_us=30_000) == Work(
        {"images": 3, "gpu_ms": 30.0, "gpu_ms.swap": 20.0}, {"media": "image"}
    )
    assert bounded(work, gpu_us=0, wall_us=0) == work
