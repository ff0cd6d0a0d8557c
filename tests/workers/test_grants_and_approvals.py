"""What the tasks of beat do for grants, approvals and estimates, without processes."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from app.ids import new_id
from billing import approvals
from billing.amounts import from_number
from billing.grant_rules import NewRule, create
from billing.grant_schedule import RuleKind
from tests.workers.miniature import Platform
from workers.estimates import start_all
from workers.grant import grant_all_due
from workers.sweep import sweep_promises

NOW = datetime.now(UTC)


def test_the_sweeper_expires_what_nobody_decided(platform: Platform) -> None:
    with platform.sessions.begin() as session:
        for number, hours in ((1, 71), (2, 73)):
            approvals.propose(
                session,
                approval_id=f"apr_{number}",
                kind="recharge",
                subject="s",
                payload={},
                maker="alice",
                now=NOW - timedelta(hours=hours),
            )
    sweep_promises(platform.services)
    with platform.sessions() as session:
        states = [approvals.get(session, f"apr_{number}").state for number in (1, 2)]
    assert states == ["pending", "expired"]


def test_the_tick_grants_once_and_commits(platform: Platform) -> None:
    with platform.sessions.begin() as session:
        create(
            session,
            NewRule("everybody", RuleKind.DAILY, from_number(5)),
            rule_id=new_id("rule"),
            maker="test",
            now=NOW,
        )
        tenants = session.execute(text("SELECT count(*) FROM tenant")).scalar_one()
    tomorrow = NOW + timedelta(days=1)
    assert grant_all_due(platform.services, now=tomorrow) == tenants
    assert grant_all_due(platform.services, now=tomorrow) == 0


def test_without_estimates_there_is_nothing_to_start(platform: Platform) -> None:
    assert start_all(platform.services) == 0
