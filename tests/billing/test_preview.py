"""A proposed card against last week, and what the house paid for."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction

import pytest

from billing.amounts import from_number
from billing.overruns import overruns
from billing.preview import preview
from billing.pricing_rules import publish_rule
from billing.publishing import proposed, shipped
from billing.rates import Multiplier, Work
from billing.settlement import ChargeStatus, settle
from billing.wallets import open_wallet
from tests.billing.till import NOW

WEEK = timedelta(days=7)


def flat(**changes):
    data = next(data for data in shipped() if data["card"] == "flat")
    return {name: value for name, value in {**data, **changes}.items() if name != "version"}


def twice(data):
    terms = [{**term, "tokens": str(int(term["tokens"]) * 2)} for term in data["terms"]]
    return {**data, "terms": terms}


def run(till, job, *, tenant="t", hold=50, **facts):
    till.hold(job, hold, tenant=tenant)
    till.end(job, tenant=tenant, quoted=hold, **facts)
    return settle(till.session, job=job)


def look(till, data):
    end = datetime.now(UTC) + timedelta(minutes=1)
    return preview(till.session, proposed(till.session, data), since=end - WEEK, until=end)


@pytest.fixture
def week(till):
    open_wallet(till.session, "u")
    till.give(1000)
    till.give(1000, tenant="u")
    for index in range(3):
        run(till, f"a{index}", images=2)
    run(till, "b", images=5, tenant="u", model="yolov8n@1")
    run(till, "c", outcome="failed", images=9)
    run(till, "d", images=9, cached=True)
    return till


def test_a_preview_prices_the_same_work_again_by_model_and_tenant(week):
    found = look(week, twice(flat()))
    assert found.card_id == "flat@2"
    assert (found.total.jobs, found.total.old, found.total.new) == (4, 11_000_000, 22_000_000)
    assert found.total.change_percent == 100
    assert {each.name: each.new for each in found.by_model} == {
        "builtin@1": 12_000_000,
        "yolov8n@1": 10_000_000,
    }
    assert {each.name: each.jobs for each in found.by_tenant} == {"t": 3, "u": 1}


def test_the_published_card_previews_to_what_it_charged(week):
    found = look(week, flat())
    assert found.total.old == found.total.new
    assert found.total.unpriced == 0


def test_what_a_proposed_card_would_refuse_is_counted_not_hidden(week):
    only = [{**term, "tables": {"size": {"big": "1"}}} for term in flat()["terms"]]
    found = look(week, flat(terms=only))
    assert (found.total.unpriced, found.total.new) == (4, 0)


def test_a_job_is_settled_by_the_multipliers_of_its_quote(till):
    till.give(100)
    factors = (Multiplier("time_of_day", Fraction(1, 2), "night"),)
    settled = run(till, "a", images=10, multipliers=factors)
    assert settled.charged == from_number(5)
    assert settled.lines[1].name == "time_of_day"


def test_an_overrun_is_absorbed_and_counted(till):
    till.give(100)
    settled = run(till, "a", hold=4, images=10)
    assert (settled.charged, settled.absorbed) == (from_number(4), from_number(6))
    run(till, "b", hold=4, images=4)
    (row,) = overruns(till.session, since=NOW, until=datetime.now(UTC) + timedelta(minutes=1))
    assert (row.jobs, row.overrun_jobs, row.absorbed) == (2, 1, from_number(6))
    assert (row.card_id, row.engine, row.model) == ("flat@1", "detect", "builtin@1")


def gpu_job(till, job, *, device="cpu", gpu_ms=20.0, wall_us=10**9):
    work = Work({"images": 1, "gpu_ms": gpu_ms, "gpu_ms.detect": gpu_ms}, {"media": "image"})
    return run(
        till,
        job,
        hold=500,
        work=work,
        card_id="facefusion-gpu@3",
        device=device,
        gpu_us=round(gpu_ms * 1000),
        wall_us=wall_us,
    )


def test_compute_time_is_normalised_once_so_that_no_machine_changes_the_price(till):
    till.give(5000)
    publish_rule(
        till.session,
        kind="device_factor",
        subject="fast",
        body={"factor": "4"},
        actor="me",
        now=NOW,
    )
    slow = gpu_job(till, "a", device="reference", gpu_ms=400.0)
    fast = gpu_job(till, "b", device="fast", gpu_ms=100.0)
    assert slow.charged == fast.charged == from_number(20)


def test_impossible_compute_time_is_quarantined_and_charged_for_the_time_that_passed(till):
    till.give(5000)
    settled = gpu_job(till, "a", gpu_ms=8_000_000.0, wall_us=2_000_000)
    assert settled.status is ChargeStatus.QUARANTINED
    assert settled.charged == from_number(100)
    (row,) = overruns(till.session, since=NOW, until=datetime.now(UTC) + timedelta(minutes=1))
    assert row.quarantined_jobs == 1
