"""The tenant's hour and the load of the GPUs: asked only when a rule asks, remembered a moment."""

from datetime import UTC, datetime, time
from fractions import Fraction

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.catalog.conditions import Conditions
from app.secret_box import SecretBox
from app.tenants.service import create_tenant
from billing.multipliers import Band, Circumstances, Rules, Step

NOW = datetime(2026, 7, 1, 17, 30, tzinfo=UTC)
BANDS = Rules(bands=(Band(time(0), time(8), Fraction(1, 2)),))
STEPS = Rules(steps=(Step(Fraction(1, 2), Fraction(2)),))


@pytest.fixture
def tenant_id(session: Session) -> str:
    tenant = create_tenant(session, name="acme", box=SecretBox("x" * 32), zone="Asia/Shanghai")
    return tenant.id


def _ask(conditions: Conditions, session: Session, rules: Rules, tenant_id: str) -> Circumstances:
    return conditions.now(session, rules, tenant_id=tenant_id, batch_items=1, now=NOW)


def _beat(session: Session, worker: str, *, age_s: int = 0) -> None:
    session.execute(
        text(
            "INSERT INTO worker_heartbeat (worker, capacity, engines, device, seen_at)"
            " VALUES (:worker, 1, '[]', 'cpu', clock_timestamp() - make_interval(secs => :age_s))"
        ),
        {"worker": worker, "age_s": age_s},
    )


def _run(session: Session, worker: str, tenant_id: str) -> None:
    session.execute(
        text(
            "INSERT INTO job (id, tenant_id, api_key_id, engine, model, params, inputs, priority,"
            " status, metadata, consent, quote, hold_id, estimated_ms, attempt, progress_done,"
            " progress_total, progress_unit, event_sequence, lease_expires_at, lease_owner)"
            " VALUES ('job_1', :tenant_id, 'key_1', 'detect', 'm@1', '{}', '{}', 'normal',"
            " 'processing', '{}', false, '{}', 'hold_1', 1, 1, 0, 0, '', 0, now(), :worker)"
        ),
        {"tenant_id": tenant_id, "worker": worker},
    )


def test_nothing_is_asked_that_no_rule_wants_to_know(session: Session, tenant_id: str) -> None:
    assert _ask(Conditions(), session, Rules(), tenant_id) == Circumstances()


def test_the_hour_is_that_of_the_tenants_zone(session: Session, tenant_id: str) -> None:
    found = _ask(Conditions(), session, BANDS, tenant_id)
    assert (found.local_time, found.zone) == (time(1, 30), "Asia/Shanghai")


def test_load_is_running_jobs_over_slots_of_living_workers(
    session: Session, tenant_id: str
) -> None:
    for worker, age_s in (("one", 0), ("two", 5), ("dead", 60)):
        _beat(session, worker, age_s=age_s)
    _run(session, "one", tenant_id)
    assert _ask(Conditions(), session, STEPS, tenant_id).busy_share == Fraction(1, 2)


def test_without_a_living_worker_there_is_no_load(session: Session, tenant_id: str) -> None:
    _beat(session, "dead", age_s=60)
    assert _ask(Conditions(), session, STEPS, tenant_id).busy_share is None


def test_zone_and_load_are_remembered_for_a_moment(session: Session, tenant_id: str) -> None:
    clock = [100.0]
    conditions = Conditions(ttl_s=5, clock=lambda: clock[0])
    both = Rules(bands=BANDS.bands, steps=STEPS.steps)
    _beat(session, "one")
    before = _ask(conditions, session, both, tenant_id)
    session.execute(text("UPDATE tenant SET zone = 'UTC'"))
    _run(session, "one", tenant_id)
    clock[0] = 104.9
    assert _ask(conditions, session, both, tenant_id) == before
    clock[0] = 105.0
    after = _ask(conditions, session, both, tenant_id)
    assert (after.zone, after.busy_share) == ("UTC", 1)
