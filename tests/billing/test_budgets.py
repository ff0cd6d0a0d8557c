"""Caps bind when a hold is placed, count in local windows, and follow every end of a hold."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from billing.amounts import from_number
from billing.budgets import caps, end_cap, rezone_caps, set_cap
from billing.caps import EACH, CapReachedError, Scope, SetBy
from billing.errors import InsufficientTokensError, UnknownWalletError
from billing.holds import place
from billing.leases import give_back
from billing.ledger import Spender
from billing.reconcile import check
from billing.settlement import settle
from billing.windows import Period
from tests.billing.till import LATER, NOW

ANNA = Spender(project="prj_web", api_key="key_1", end_user="anna")
BERT = Spender(project="prj_web", api_key="key_2", end_user="bert")


def cap(till, limit, *, scope=Scope.TENANT, subject="", **changes):
    values = {
        "tenant": "t",
        "set_by": SetBy.OPERATOR,
        "scope": scope,
        "subject": subject,
        "period": Period.DAY,
        "zone": "UTC",
        "limit": from_number(limit),
        "now": NOW,
    }
    return set_cap(till.session, **{**values, **changes})[0]


def spend(till, job, tokens, *, by=ANNA, now=NOW):
    return place(
        till.session,
        tenant="t",
        hold_id=f"hold_{job}",
        job=job,
        amount=from_number(tokens),
        expires_at=LATER,
        now=now,
        spender=by,
    )


def fill(till, *, now=NOW):
    """Used and reserved tokens of every cap, oldest first."""
    return [(each.used / 1e6, each.reserved / 1e6) for each in caps(till.session, "t", now=now)]


def test_a_hold_reserves_and_its_settlement_moves_what_was_charged(till):
    till.give(100)
    cap(till, 50)
    spend(till, "a", 9)
    assert fill(till) == [(0, 9)]
    till.end("a", images=4, quoted=9)
    settle(till.session, job="a", now=NOW)
    assert fill(till) == [(4, 0)]


def test_a_job_that_costs_nothing_gives_everything_back(till):
    till.give(100)
    cap(till, 50)
    spend(till, "a", 9)
    till.end("a", "failed", quoted=9)
    settle(till.session, job="a", now=NOW)
    assert fill(till) == [(0, 0)]


def test_a_cap_that_is_reached_refuses_and_says_which_and_until_when(till):
    till.give(100)
    mine = cap(till, 10, scope=Scope.END_USER, subject="anna", zone="Asia/Shanghai")
    spend(till, "a", 7)
    with pytest.raises(CapReachedError) as refused:
        spend(till, "b", 4)
    assert refused.value.code == "cap_reached"
    assert refused.value.cap.id == mine.id
    assert refused.value.cap.window == date(2026, 1, 1)
    assert "the daily cap of the end user 'anna' is reached" in str(refused.value)
    assert "7 reserved, and this needs 4" in str(refused.value)
    assert "starts anew at 2026-01-01T16:00:00+00:00" in str(refused.value)


def test_a_refusal_leaves_nothing_behind(till):
    till.give(100)
    cap(till, 50, scope=Scope.PROJECT, subject="prj_web")
    cap(till, 5, scope=Scope.KEY, subject="key_1")
    with pytest.raises(CapReachedError):
        spend(till, "a", 6)
    assert fill(till) == [(0, 0), (0, 0)]
    assert till.session.scalar(text("SELECT count(*) FROM billing.hold")) == 0
    assert till.session.scalar(text("SELECT held FROM billing.wallet WHERE tenant = 't'")) == 0


def test_an_empty_wallet_is_said_before_a_cap_and_reserves_nothing(till):
    till.give(3)
    cap(till, 50)
    with pytest.raises(InsufficientTokensError):
        spend(till, "a", 6)
    assert fill(till) == [(0, 0)]


def test_the_exact_limit_may_be_spent_and_not_one_micro_token_more(till):
    till.give(100)
    cap(till, 10)
    spend(till, "a", 10)
    spend(till, "free", 0)
    with pytest.raises(CapReachedError):
        spend(till, "b", 0.000001)


def test_of_two_caps_that_are_reached_the_longer_one_is_named(till):
    till.give(100)
    cap(till, 5)
    month = cap(till, 5, period=Period.MONTH)
    with pytest.raises(CapReachedError) as refused:
        spend(till, "a", 6)
    assert refused.value.cap.id == month.id


def test_a_new_local_day_starts_anew_and_the_old_one_settles_where_it_was_held(till):
    till.give(100)
    cap(till, 10, zone="Europe/Paris")
    evening = datetime(2026, 1, 1, 22, 59, tzinfo=UTC)
    spend(till, "a", 10, now=evening)
    with pytest.raises(CapReachedError):
        spend(till, "b", 1, now=evening)
    midnight = evening + timedelta(minutes=1)
    spend(till, "b", 10, now=midnight)
    till.end("a", images=3, quoted=10)
    settle(till.session, job="a", now=midnight)
    assert fill(till, now=midnight) == [(0, 10)]
    rows = till.session.execute(
        text("SELECT window_start, used, reserved FROM billing.budget_usage ORDER BY 1")
    ).all()
    assert [tuple(row) for row in rows] == [
        (date(2026, 1, 1), 3_000_000, 0),
        (date(2026, 1, 2), 0, 10_000_000),
    ]


def test_a_cap_on_each_end_user_counts_them_apart(till):
    till.give(100)
    cap(till, 10, scope=Scope.END_USER, subject=EACH)
    spend(till, "a", 8, by=ANNA)
    spend(till, "b", 9, by=BERT)
    spend(till, "c", 50, by=Spender())
    with pytest.raises(CapReachedError, match="end user 'anna'"):
        spend(till, "d", 3, by=ANNA)
    (found,) = caps(till.session, "t", now=NOW)
    assert (found.fullest, found.reserved, found.remaining) == (
        "bert",
        from_number(9),
        from_number(1),
    )


def test_a_cap_counts_what_its_window_saw_before_it_was_set(till):
    till.give(100)
    spend(till, "yesterday", 20, now=NOW - timedelta(days=1))
    spend(till, "charged", 9)
    till.end("charged", images=4, quoted=9)
    settle(till.session, job="charged", now=NOW)
    spend(till, "running", 5)
    spend(till, "another's", 7, by=BERT)
    cap(till, 50, scope=Scope.KEY, subject="key_1")
    cap(till, 50, scope=Scope.END_USER, subject=EACH)
    assert fill(till) == [(4, 5), (4, 5)]
    till.end("running", images=2, quoted=5)
    settle(till.session, job="running", now=NOW)
    assert fill(till) == [(6, 0), (0, 7)]


def test_setting_a_cap_again_changes_its_limit_and_nothing_else(till):
    till.give(100)
    first = cap(till, 50)
    spend(till, "a", 9)
    again = cap(till, 5)
    assert (again.id, again.reserved, again.remaining) == (first.id, from_number(9), 0)
    with pytest.raises(CapReachedError):
        spend(till, "b", 1)


def test_a_tenants_cap_stands_beside_the_operators_and_both_bind(till):
    till.give(100)
    cap(till, 10)
    cap(till, 50, set_by=SetBy.TENANT)
    with pytest.raises(CapReachedError, match="of 10 tokens"):
        spend(till, "a", 11)
    cap(till, 5, set_by=SetBy.TENANT)
    with pytest.raises(CapReachedError, match="of 5 tokens"):
        spend(till, "a", 6)


def test_a_cap_that_was_taken_away_no_longer_binds_and_only_its_setter_may(till):
    till.give(100)
    mine = cap(till, 5)
    spend(till, "a", 5)
    assert not end_cap(till.session, tenant="t", cap_id=mine.id, set_by=SetBy.TENANT)
    assert end_cap(till.session, tenant="t", cap_id=mine.id, set_by=SetBy.OPERATOR)
    assert not end_cap(till.session, tenant="t", cap_id=mine.id, set_by=SetBy.OPERATOR)
    spend(till, "b", 50)
    till.end("a", images=4, quoted=5)
    settle(till.session, job="a", now=NOW)
    assert caps(till.session, "t", now=NOW) == []
    assert cap(till, 60).used == from_number(4)


def test_a_cap_needs_a_wallet(till):
    with pytest.raises(UnknownWalletError):
        cap(till, 5, tenant="nobody")


def test_a_window_row_that_its_holds_do_not_say_is_found(till_to_commit):
    till = till_to_commit
    till.give(100)
    cap(till, 50)
    spend(till, "a", 9)
    till.session.execute(text("UPDATE billing.budget_usage SET used = 1, reserved = 8"))
    till.session.commit()
    assert [finding.code for finding in check(till.session)] == ["budget_differs"]


def test_another_zone_moves_the_windows_and_a_date_that_has_begun_goes_on(till):
    till.give(100)
    cap(till, 10)
    spend(till, "a", 9)
    rezone_caps(till.session, tenant="t", zone="Asia/Shanghai")
    (found,) = caps(till.session, "t", now=NOW)
    assert (found.zone, found.window, found.reserved) == (
        "Asia/Shanghai",
        date(2026, 1, 1),
        from_number(9),
    )
    evening = datetime(2026, 1, 1, 16, tzinfo=UTC)
    spend(till, "b", 10, now=evening)
    till.end("a", images=4, quoted=9)
    settle(till.session, job="a", now=evening)
    assert fill(till, now=evening) == [(0, 10)]


def test_a_hold_given_back_and_charged_late_is_used_after_all(till_to_commit):
    till = till_to_commit
    till.give(100)
    cap(till, 10)
    spend(till, "a", 9)
    assert give_back(till.session, job="a", now=NOW)
    assert fill(till) == [(0, 0)]
    till.end("a", images=4, quoted=9)
    settle(till.session, job="a", now=NOW)
    assert fill(till) == [(4, 0)]
    till.session.commit()
    assert "budget_differs" not in {finding.code for finding in check(till.session)}
