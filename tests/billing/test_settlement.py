from datetime import timedelta

import pytest
from sqlalchemy import text

from billing.amounts import from_number
from billing.rates import Work
from billing.settlement import ChargeStatus, settle, settle_many
from billing.wallets import balance, entries, open_wallet
from tests.billing.till import NOW


def accounts(till):
    """The house's accounts in tokens: credits less debits."""
    rows = till.session.execute(
        text(
            "SELECT a, sum(x) / 1000000 AS sum FROM (SELECT credit AS a, amount AS x FROM"
            " billing.transfer UNION ALL SELECT debit, -amount FROM billing.transfer) t GROUP BY a"
        )
    )
    return {row.a: float(row.sum) for row in rows}


def test_measured_work_is_captured_and_the_rest_released(till):
    till.give(10)
    till.hold("a", 7)
    till.end("a", images=4)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.released, found.absorbed) == (
        from_number(4),
        from_number(3),
        0,
    )
    assert found.available_after == balance(till.session, "t").available == from_number(6)
    assert found.status is ChargeStatus.SETTLED
    assert (found.card_id, found.outcome, found.tenant) == ("flat@1", "succeeded", "t")
    assert [(line.name, line.quantity, line.tokens) for line in found.lines] == [("image", 4, 4)]
    assert accounts(till) == {"promo_issued": -10, "available": 6, "held": 0, "revenue": 4}


def test_a_second_settlement_changes_nothing(till):
    till.give(10)
    till.hold("a", 7)
    till.end("a", images=4)
    assert settle(till.session, job="a", now=NOW) is not None
    assert settle(till.session, job="a", now=NOW) is None
    assert balance(till.session, "t").available == from_number(6)


def test_a_job_without_usage_is_not_settled(till):
    till.give(10)
    till.hold("a", 7)
    assert settle(till.session, job="a", now=NOW) is None
    assert settle(till.session, job="unknown", now=NOW) is None
    assert balance(till.session, "t").held == from_number(7)


@pytest.mark.parametrize("outcome", ["failed", "expired"])
def test_a_job_that_gave_nothing_costs_nothing(till, outcome):
    till.give(10)
    till.hold("a", 7)
    till.end("a", outcome, images=4)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.released, found.lines) == (0, from_number(7), ())
    assert balance(till.session, "t").available == from_number(10)


@pytest.mark.parametrize(("images", "charged"), [(3, 3), (0, 0)])
def test_a_canceled_job_costs_the_work_measured_so_far(till, images, charged):
    till.give(10)
    till.hold("a", 7)
    till.end("a", "canceled", images=images)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert found.charged == from_number(charged)


def test_a_cached_result_costs_nothing(till):
    till.give(10)
    till.hold("a", 7)
    till.end("a", images=4, cached=True)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.cached) == (0, True)


def test_a_price_above_the_hold_is_absorbed(till):
    till.give(10)
    till.hold("a", 7)
    till.end("a", images=9)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.released, found.absorbed) == (
        from_number(7),
        0,
        from_number(2),
    )
    assert accounts(till)["overrun_absorbed"] == -2
    assert accounts(till)["revenue"] == 9


def test_released_tokens_go_back_to_the_grants_they_came_from(till):
    soon, never = till.give(4, days=1), till.give(10)
    till.hold("a", 7)
    till.end("a", images=5)
    settle(till.session, job="a", now=NOW)
    left = {grant.id: grant.remaining for grant in balance(till.session, "t", now=NOW).grants}
    assert left == {never.id: from_number(9)}
    assert soon.id not in left


def test_what_comes_back_to_an_expired_grant_is_breakage(till):
    till.give(4, days=1)
    till.give(2)
    till.hold("a", 6)
    till.end("a", images=1)
    found = settle(till.session, job="a", now=NOW + timedelta(days=2))
    assert found is not None
    assert (found.charged, found.released) == (from_number(1), from_number(5))
    assert found.available_after == from_number(2)
    assert accounts(till)["breakage"] == 3


def test_a_meter_that_claims_more_time_than_passed_is_bounded_and_marked(till):
    till.give(100)
    till.hold("a", 50)
    work = Work({"gpu_ms": 1000.0, "gpu_ms.swap": 1000.0}, {"media": "image"})
    till.end("a", work=work, card_id="facefusion-gpu@3", gpu_us=1_000_000, wall_us=100_000)
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert found.status is ChargeStatus.QUARANTINED
    assert found.charged == from_number(5)


def test_work_that_its_card_cannot_price_is_released_and_marked(till):
    till.give(100)
    till.hold("a", 50)
    till.end("a", work=Work({"images": 1}, {"type": "cat"}), card_id="ddcolor@2")
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.status, found.charged) == (ChargeStatus.UNPRICED, 0)


def test_several_jobs_settle_in_one_transaction(till):
    open_wallet(till.session, "u")
    till.give(10)
    till.give(10, tenant="u")
    for job, tenant in (("a", "u"), ("b", "t"), ("c", "u")):
        till.hold(job, 2, tenant=tenant)
        till.end(job, tenant=tenant)
    settled = settle_many(till.session, jobs=["a", "b", "c", "missing"], now=NOW)
    assert [(one.job, one.tenant) for one in settled] == [("b", "t"), ("a", "u"), ("c", "u")]
    assert balance(till.session, "u").available == from_number(8)


def test_a_hold_of_nothing_settles_too(till):
    till.hold("a", 0)
    till.end("a", "failed")
    found = settle(till.session, job="a", now=NOW)
    assert found is not None
    assert (found.charged, found.released) == (0, 0)


def test_the_statement_tells_every_movement_newest_first(till):
    grant = till.give(10)
    till.hold("a", 7)
    till.end("a", images=4)
    settle(till.session, job="a", now=NOW)
    lines = entries(till.session, "t")
    assert [
        (line.kind, line.amount // 10**6, line.held // 10**6, line.balance_after // 10**6)
        for line in lines
    ] == [("settle", 3, -7, 6), ("hold", -7, 7, 3), ("grant", 10, 0, 10)]
    assert [line.job for line in lines] == ["a", "a", None]
    assert {line.grant for line in lines} == {grant.id}
    assert entries(till.session, "t", limit=1, after=lines[0].id) == [lines[1]]
